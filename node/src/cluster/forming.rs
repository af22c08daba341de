//! Forming a cluster out of seeds.
//!
//! When all seeds are reachable, pristine and agree on the list, the first of them proposes an identity for the
//! cluster and for each seed; every seed makes it durable and accepts no other; then the first begins the metadata
//! group. A pristine node that finds a cluster never forms another: it joins that one as a new node.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use quorate_cluster_config::{Address, ClusterId, NodeId};
use quorate_raft::KvError;

use super::{Cluster, joining};
use crate::{
    identity::Formation,
    peers::{HandshakeError, Hello, PeerFailure, Purpose, RpcPool},
};

pub(super) const PAUSE: Duration = Duration::from_millis(200);
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a wait is reported.
pub(super) const REPORT_EVERY: u32 = 25;

/// Why this node cannot be part of the cluster its seeds are in.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    /// The node is not one of the seeds.
    #[error(
        "this node's peer address {address} is not among the seeds ({seeds}); a cluster forms of its seeds only: add the address to --seeds of every node, or correct --peer-advertise"
    )]
    NotASeed {
        /// The node's address.
        address: Address,
        /// The seeds, in words.
        seeds: String,
    },
    /// The cluster does not take this node.
    #[error("the cluster that node {node} is in does not take this node: {reason}")]
    JoinRefused {
        /// The node that said so.
        node: Address,
        /// Why.
        reason: String,
    },
    /// The node was removed from its cluster.
    #[error(
        "this node, {node}, was removed from cluster {cluster}, as {by} says; to use the machine again, start it with an empty data directory and --join"
    )]
    Removed {
        /// The node.
        node: NodeId,
        /// The cluster.
        cluster: ClusterId,
        /// The node that said so.
        by: Address,
    },
    /// What the node calls itself while it joins could not be read or written.
    #[error("{0}; the store may be damaged: start this node with an empty data directory")]
    Store(KvError),
    /// The data directory is from another cluster than the nodes it was told of.
    #[error(
        "the data directory belongs to cluster {ours}, but {seed} is in cluster {theirs}; use the data directory of that cluster, or correct --seeds and --join"
    )]
    OtherCluster {
        /// The seed that said so.
        seed: Address,
        /// The data directory's cluster.
        ours: ClusterId,
        /// The seed's cluster.
        theirs: ClusterId,
    },
}

enum Answer {
    Hello(Hello),
    OtherCluster(ClusterId),
    Removed,
    Silent(String),
}

async fn ask(cluster: &Arc<Cluster>, seed: &Address) -> Answer {
    let stream = match crate::peers::connect(&cluster.net, seed, cluster.greeting(), None, Purpose::Rpc).await {
        Ok((stream, _)) => stream,
        Err(error) => {
            return match error.source {
                HandshakeError::OtherCluster { theirs, .. } => Answer::OtherCluster(theirs),
                HandshakeError::Removed(_) => Answer::Removed,
                source => Answer::Silent(format!("{}: {source}", error.address)),
            };
        }
    };
    let client = crate::peers::client(stream);
    match client.hello(crate::peers::within(CALL_TIMEOUT)).await {
        Ok(hello) => Answer::Hello(hello),
        Err(error) => Answer::Silent(format!("{seed}: {error}")),
    }
}

fn others(cluster: &Cluster) -> Vec<Address> {
    let mut seeds = cluster.config().forming_seeds().to_vec();
    seeds.retain(|seed| seed != cluster.config().peer_advertised());
    seeds.sort();
    seeds
}

/// For a node with an identity: refuses to start if a node that it was told of, and that can be reached now, is in another
/// cluster or says that this one was removed.
pub(crate) async fn check_seeds(cluster: &Arc<Cluster>) -> Result<(), FormError> {
    let Some(identity) = cluster.identity() else { return Ok(()) };
    let told_of = others(cluster).into_iter().chain(cluster.config().join.iter().cloned());
    let told_of: Vec<Address> = told_of.chain(identity.first_known().values().cloned()).collect();
    let us = cluster.config().peer_advertised();
    let asked: BTreeSet<&Address> = told_of.iter().filter(|address| *address != us).collect();
    let answers = futures::future::join_all(asked.iter().map(|address| ask(cluster, address))).await;
    for (address, answer) in asked.into_iter().zip(answers) {
        let (seed, ours) = (address.clone(), identity.cluster);
        // Where a node was when this one joined, another cluster may be by now.
        let configured = cluster.config().seeds.contains(address) || cluster.config().join.contains(address);
        match answer {
            Answer::OtherCluster(theirs) if configured => {
                return Err(FormError::OtherCluster { seed, ours, theirs });
            }
            Answer::Removed => return Err(FormError::Removed { node: identity.node, cluster: ours, by: seed }),
            Answer::OtherCluster(_) | Answer::Hello(_) | Answer::Silent(_) => {}
        }
    }
    Ok(())
}

/// Returns once this node has an identity: one it proposed or accepted, or that of the cluster it joined.
pub(crate) async fn form(cluster: &Arc<Cluster>) -> Result<(), FormError> {
    let config = cluster.config();
    if cluster.identity().is_some() {
        return Ok(());
    }
    if config.standby {
        return joining::wait_for_invitation(cluster).await;
    }
    if !config.join.is_empty() {
        return joining::join(cluster, &config.join).await;
    }
    let address = config.peer_advertised();
    let mut seeds = config.forming_seeds().to_vec();
    seeds.sort();
    if !seeds.contains(address) {
        let seeds = seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(FormError::NotASeed { address: address.clone(), seeds });
    }
    let first = seeds.first() == Some(address);
    let others = others(cluster);
    let mut round = 0;
    while cluster.identity().is_none() {
        let accepted = cluster.accepted.notified();
        let answers = futures::future::join_all(others.iter().map(|seed| ask(cluster, seed))).await;
        let mut missing = None;
        for (seed, answer) in others.iter().zip(&answers) {
            match answer {
                // A node that has lost its data is another node: what it had promised is not here any more.
                Answer::Hello(Hello { cluster: Some(theirs), initialized: true, .. })
                    if cluster.identity().is_none() =>
                {
                    tracing::warn!(cluster = %theirs, %seed, "the data directory is empty, but the cluster is there: this node joins it as a new one; if it has lost its data, remove the one it was: `quorate node remove N --dead`");
                    return joining::join(cluster, std::slice::from_ref(seed)).await;
                }
                Answer::Hello(hello) if hello.seeds != seeds => {
                    missing = Some(format!("{seed} is configured with other seeds than this node"));
                }
                Answer::Hello(hello) if hello.cluster.is_some() => {
                    missing = Some(format!("{seed} has accepted a formation; waiting for its proposer"));
                }
                Answer::Hello(..) => {}
                // This node has no identity that could be refused, or it has just got one.
                Answer::OtherCluster(_) | Answer::Removed => {}
                Answer::Silent(why) => missing = Some(why.clone()),
            }
        }
        match missing {
            None if first => {
                let formation = Formation::new(ClusterId(rand::random()), &seeds);
                if let Err(error) = cluster.accept_formation(formation).await {
                    tracing::warn!(%error, "cannot accept the own formation");
                }
                continue;
            }
            None => {}
            Some(why) if round % REPORT_EVERY == 0 => tracing::info!(why, "waiting for the seeds to form a cluster"),
            Some(_) => {}
        }
        round += 1;
        drop(tokio::time::timeout(PAUSE, accepted).await);
    }
    Ok(())
}

/// For the first node of the formation: begins the metadata group once every seed has accepted.
pub(crate) async fn begin(cluster: Arc<Cluster>, rpc: Arc<RpcPool>) {
    let (Some(identity), Some(member)) = (cluster.identity(), cluster.member()) else { return };
    let Some(formation) = identity.formation() else { return };
    if formation.nodes.first_key_value().map(|(node, _)| *node) != Some(identity.node) {
        return;
    }
    let mut round = 0;
    while !member.metadata.group().is_initialized().await.unwrap_or(true) {
        let others = formation.nodes.keys().filter(|node| **node != identity.node);
        let mut accepted = true;
        for node in others {
            let answer = match rpc.get(*node).await {
                Ok(client) => {
                    let call = client.accept_formation(crate::peers::within(CALL_TIMEOUT), formation.clone());
                    call.await.unwrap_or_else(|error| Err(PeerFailure::Unknown(error.to_string())))
                }
                Err(error) => Err(PeerFailure::Unknown(error)),
            };
            if let Err(error) = answer {
                accepted = false;
                rpc.forget(*node).await;
                if round % REPORT_EVERY == 0 {
                    tracing::info!(%node, %error, "a seed has not accepted the formation yet");
                }
            }
        }
        if accepted {
            if let Err(error) = member.metadata.group().initialize(&formation.metadata_members()).await {
                tracing::error!(%error, "cannot begin the metadata group");
                return;
            }
            tracing::info!(cluster = %identity.cluster, "the cluster has formed");
        } else {
            round += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }
}
