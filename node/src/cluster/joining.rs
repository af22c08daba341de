//! Joining a cluster that is there, on either side.
//!
//! A node that has no identity asks any node of the cluster for one; the metadata group gives it, together with a replica
//! of its own. A node may ask as often as it likes: what it calls itself until then is on its disk before it first asks, and
//! it gets the same answer each time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quorate_cluster_config::{Address, NodeId};
use quorate_raft::{Join, MetadataCommand, MetadataReply, NodePlace};
use tokio::time::Instant;

use super::{
    Cluster, FormError, Member,
    forming::{PAUSE, REPORT_EVERY},
};
use crate::{
    identity::{self, Identity, Origin},
    peers::{Greeting, HandshakeError, Joined, PeerFailure, Purpose},
};

/// How long a node of the cluster may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Of that, how long the metadata group may take.
const ADMIT_PATIENCE: Duration = Duration::from_secs(4);
/// How long an invited node may take to join.
const INVITATION_TIMEOUT: Duration = Duration::from_secs(15);

/// Joins the cluster that these nodes are in. Returns once this node has an identity there.
pub(super) async fn join(cluster: &Arc<Cluster>, nodes: &[Address]) -> Result<(), FormError> {
    let token = token(cluster).await?;
    let config = cluster.config();
    let place = NodePlace {
        client_address: config.advertised().clone(),
        peer_address: config.peer_advertised().clone(),
        rack: config.rack.clone(),
    };
    let mut round = 0;
    while cluster.identity().is_none() {
        for node in nodes {
            match ask(cluster, node, Join { token, place: place.clone(), levels: cluster.levels() }).await {
                Ok(joined) => {
                    let Joined { cluster: of, node, metadata_replica, nodes } = joined;
                    let origin = Origin::Joined(nodes);
                    let identity = Identity { cluster: of, node, metadata_replica, origin };
                    cluster.take_identity(identity).await?;
                    break;
                }
                Err(PeerFailure::Refused(reason)) => {
                    return Err(FormError::JoinRefused { node: node.clone(), reason });
                }
                Err(error) if round % REPORT_EVERY == 0 => {
                    tracing::info!(%node, %error, "waiting to join the cluster");
                }
                Err(_) => {}
            }
        }
        if cluster.identity().is_none() {
            round += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

async fn token(cluster: &Arc<Cluster>) -> Result<u128, FormError> {
    let store = cluster.store.clone();
    let token = tokio::task::spawn_blocking(move || identity::join_token(&store)).await;
    token.unwrap_or_else(|error| Err(quorate_raft::KvError(error.to_string()))).map_err(FormError::Store)
}

async fn ask(cluster: &Arc<Cluster>, node: &Address, join: Join) -> Result<Joined, PeerFailure> {
    let unknown = |error: String| PeerFailure::Unknown(error);
    let us = Greeting { cluster: None, node: None, ..cluster.greeting() };
    let (stream, _) = crate::peers::connect(&cluster.net, node, us, None, Purpose::Rpc)
        .await
        .map_err(|error| unknown(error.to_string()))?;
    let call = crate::peers::client(stream);
    call.join(crate::peers::within(CALL_TIMEOUT), join).await.unwrap_or_else(|error| Err(unknown(error.to_string())))
}

/// Returns once this node was invited to a cluster and has joined it.
pub(super) async fn wait_for_invitation(cluster: &Arc<Cluster>) -> Result<(), FormError> {
    let address = cluster.config().peer_advertised();
    tracing::info!("waiting to be added to a cluster: `quorate node add {address}`");
    loop {
        let accepted = cluster.accepted.notified();
        if cluster.identity().is_some() {
            return Ok(());
        }
        accepted.await;
    }
}

impl Cluster {
    /// Takes an identity that a cluster gave this node, unless it has one by now.
    async fn take_identity(&self, identity: Identity) -> Result<(), FormError> {
        let _one_at_a_time = self.accepting.lock().await;
        if self.identity().is_some() {
            return Ok(());
        }
        tracing::info!(cluster = %identity.cluster, node = %identity.node, "joins the cluster");
        let taken = self.become_durably(identity).await;
        taken.map_err(|error| FormError::Store(quorate_raft::KvError(error.to_string())))
    }

    /// Joins the cluster of one of these nodes, if this node waits for that; returns its id there.
    pub(crate) async fn take_invitation(self: &Arc<Self>, nodes: &[Address]) -> Result<NodeId, PeerFailure> {
        if self.identity().is_none() {
            if !self.config().standby {
                let reason =
                    "it is about to form a cluster or to join one, as its own settings say; start it with --standby";
                return Err(PeerFailure::Refused(reason.to_owned()));
            }
            match tokio::time::timeout(INVITATION_TIMEOUT, join(self, nodes)).await {
                Ok(joined) => joined.map_err(|error| PeerFailure::Refused(error.to_string()))?,
                Err(_) => return Err(PeerFailure::Unknown("it could not join in time".to_owned())),
            }
        }
        self.identity().map(|identity| identity.node).ok_or(PeerFailure::NotReady)
    }

    /// Gives a node an id, as a member of the cluster.
    pub(crate) async fn admit(&self, join: Join) -> Result<Joined, PeerFailure> {
        let member = self.member().ok_or(PeerFailure::NotReady)?;
        let command = MetadataCommand::AddNode(join);
        let executed = member.execute(&command, Instant::now() + ADMIT_PATIENCE).await;
        match executed.map_err(|error| PeerFailure::Unknown(error.to_string()))?.0 {
            MetadataReply::NodeAdded { node, metadata_replica } => {
                let mut nodes = member.identity.first_known().clone();
                let state = member.metadata.state();
                nodes.retain(|node, _| !state.is_shunned(*node));
                nodes.extend(state.nodes().map(|row| (row.id, row.place.peer_address.clone())));
                Ok(Joined { cluster: member.identity.cluster, node, metadata_replica, nodes })
            }
            MetadataReply::Refused(refusal) => Err(PeerFailure::Refused(refusal.to_string())),
            reply => Err(PeerFailure::Unknown(format!("unexpected reply {reply:?}"))),
        }
    }
}

/// Why a node was not added.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InviteError {
    /// Nobody answers there.
    #[error("{0}; is the node started, with --standby, and is this its peer address?")]
    Unreachable(String),
    /// It cannot or will not join.
    #[error("node at {address} was not added: {reason}")]
    Refused {
        /// The node.
        address: Address,
        /// Why.
        reason: String,
    },
    /// It may or may not have joined.
    #[error("whether the node at {0} was added is unknown: {1}")]
    Unknown(Address, String),
}

/// Invites the node at a peer address to the cluster; returns its id.
pub(crate) async fn invite(member: &Member, address: &Address) -> Result<NodeId, InviteError> {
    let us = member.rpc.us();
    let refused = |reason: String| InviteError::Refused { address: address.clone(), reason };
    let (stream, them) = match crate::peers::connect(&member.net, address, us, None, Purpose::Rpc).await {
        Ok(connected) => connected,
        Err(error) => match error.source {
            HandshakeError::OtherCluster { theirs, .. } => {
                let reason = format!("it is part of cluster {theirs}; start it with an empty data directory");
                return Err(refused(reason));
            }
            HandshakeError::Version { .. } | HandshakeError::Removed(_) => {
                return Err(refused(error.source.to_string()));
            }
            source => return Err(InviteError::Unreachable(format!("{address}: {source}"))),
        },
    };
    if let (Some(_), Some(node)) = (them.cluster, them.node) {
        // It is part of this cluster already.
        return Ok(node);
    }
    let live = member.live_nodes();
    let ours: BTreeMap<NodeId, Address> =
        live.into_iter().filter_map(|node| Some((node, member.directory.get(node)?))).collect();
    let client = crate::peers::client(stream);
    let deadline = crate::peers::within(INVITATION_TIMEOUT);
    match client.invite(deadline, ours.into_values().collect()).await {
        Ok(Ok(node)) => Ok(node),
        Ok(Err(PeerFailure::Refused(reason))) => Err(refused(reason)),
        Ok(Err(error)) => Err(InviteError::Unknown(address.clone(), error.to_string())),
        Err(error) => Err(InviteError::Unknown(address.clone(), error.to_string())),
    }
}
