//! Forming a cluster out of seeds, and telling a new node from one that has lost its data.
//!
//! When all seeds are reachable, pristine and agree on the list, the first of them proposes an identity for the
//! cluster and for each seed; every seed makes it durable and accepts no other; then the first begins the metadata
//! group. A pristine node that finds a cluster never forms another.

use std::{sync::Arc, time::Duration};

use quorate_cluster_config::{Address, ClusterId};

use super::Cluster;
use crate::{
    identity::Formation,
    peers::{Greeting, HandshakeError, Hello, PeerFailure, Purpose, RpcPool},
};

const PAUSE: Duration = Duration::from_millis(200);
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a wait is reported.
const REPORT_EVERY: u32 = 25;

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
    /// The cluster is there, and this node, which has no data, is not in it or no longer.
    #[error(
        "the data directory is empty, but seed {seed} is in cluster {cluster}, which has begun without this node or with data that is gone from here; restore the data directory, or use other seeds to form another cluster"
    )]
    ClusterExists {
        /// The seed that said so.
        seed: Address,
        /// The cluster.
        cluster: ClusterId,
    },
    /// The data directory is from another cluster than the seeds.
    #[error(
        "the data directory belongs to cluster {ours}, but seed {seed} is in cluster {theirs}; use the data directory of that cluster, or correct --seeds"
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
    Silent(String),
}

async fn ask(cluster: &Arc<Cluster>, seed: &Address) -> Answer {
    let identity = cluster.identity();
    let us = Greeting { cluster: identity.map(|identity| identity.cluster()), node: identity.map(|i| i.node) };
    let stream = match crate::peers::connect(&cluster.net, seed, us, None, Purpose::Rpc).await {
        Ok((stream, _)) => stream,
        Err(error) => {
            return match error.source {
                HandshakeError::OtherCluster { theirs, .. } => Answer::OtherCluster(theirs),
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

/// For a node with an identity: refuses to start if a seed that can be reached now is in another cluster.
pub(crate) async fn check_seeds(cluster: &Arc<Cluster>) -> Result<(), FormError> {
    let Some(identity) = cluster.identity() else { return Ok(()) };
    let seeds = others(cluster);
    let answers = futures::future::join_all(seeds.iter().map(|seed| ask(cluster, seed))).await;
    for (seed, answer) in seeds.into_iter().zip(answers) {
        if let Answer::OtherCluster(theirs) = answer {
            return Err(FormError::OtherCluster { seed, ours: identity.cluster(), theirs });
        }
    }
    Ok(())
}

/// Returns once this node has an identity: one it proposed or one it accepted.
pub(crate) async fn form(cluster: &Arc<Cluster>) -> Result<(), FormError> {
    let config = cluster.config();
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
                Answer::Hello(Hello { formation: Some(formation), initialized: true, .. })
                    if cluster.identity().is_none() =>
                {
                    return Err(FormError::ClusterExists { seed: seed.clone(), cluster: formation.cluster });
                }
                Answer::OtherCluster(theirs) => {
                    return Err(FormError::ClusterExists { seed: seed.clone(), cluster: *theirs });
                }
                Answer::Hello(hello) if hello.seeds != seeds => {
                    missing = Some(format!("{seed} is configured with other seeds than this node"));
                }
                Answer::Hello(hello) if hello.formation.is_some() => {
                    missing = Some(format!("{seed} has accepted a formation; waiting for its proposer"));
                }
                Answer::Hello(..) => {}
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
    if identity.formation.nodes.first_key_value().map(|(node, _)| *node) != Some(identity.node) {
        return;
    }
    let mut round = 0;
    while !member.metadata.group().is_initialized().await.unwrap_or(true) {
        let others = identity.formation.nodes.keys().filter(|node| **node != identity.node);
        let mut accepted = true;
        for node in others {
            let answer = match rpc.get(*node).await {
                Ok(client) => {
                    let call = client.accept_formation(crate::peers::within(CALL_TIMEOUT), identity.formation.clone());
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
            if let Err(error) = member.metadata.group().initialize(&identity.formation.metadata_members()).await {
                tracing::error!(%error, "cannot begin the metadata group");
                return;
            }
            tracing::info!(cluster = %identity.cluster(), "the cluster has formed");
        } else {
            round += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }
}
