//! What the other nodes last said of themselves.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures::future::join_all;
use quorate_cluster_config::{NodeId, PartitionId};
use quorate_protocol::ReplicaRole;
use tokio::time::{Instant, MissedTickBehavior};

use super::Member;
use crate::peers::{LeaderHint, NodeStatus, VersionedStatus};

/// How often every other node is asked.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long one of them may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// A node that has said nothing for so long is taken to be down.
const DOWN_AFTER: Duration = Duration::from_secs(2);

/// What one other node last said.
#[derive(Debug)]
struct Said {
    /// When that was, or when it said that nothing has changed since.
    at: Instant,
    version: u64,
    status: Arc<NodeStatus>,
}

impl Said {
    fn is_up(&self) -> bool {
        self.at.elapsed() < DOWN_AFTER
    }
}

/// The last status of each other node and when it came.
#[derive(Debug, Default)]
pub(crate) struct Board(RwLock<BTreeMap<NodeId, Said>>);

impl Board {
    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        self.read().get(&node).is_some_and(Said::is_up)
    }

    /// What a node last said, and when.
    pub(crate) fn said<T>(&self, node: NodeId, look: impl FnOnce(Instant, &NodeStatus) -> T) -> Option<T> {
        self.read().get(&node).map(|said| look(said.at, &said.status))
    }

    /// When a node was last heard.
    pub(crate) fn last_heard(&self, node: NodeId) -> Option<Instant> {
        self.read().get(&node).map(|said| said.at)
    }

    /// The nodes that are up and have said that their disks are nearly full.
    pub(crate) fn low_on_disk(&self) -> Vec<NodeId> {
        let board = self.read();
        let low = board.iter().filter(|(_, said)| said.status.low_on_disk && said.is_up());
        low.map(|(node, _)| *node).collect()
    }

    /// The newest leader of a partition that any node now up has told of.
    pub(crate) fn leader(&self, partition: PartitionId) -> LeaderHint {
        let board = self.read();
        let up = || board.values().filter(|said| said.is_up()).map(|said| &said.status);
        let replicas = up().flat_map(|status| status.replicas.iter().map(|replica| (status.node, replica)));
        let hints = replicas.filter(|(_, replica)| replica.partition == partition).filter_map(|(node, replica)| {
            let node = if replica.role == ReplicaRole::Leader { Some(node) } else { replica.leader };
            node.filter(|leader| up().any(|status| status.node == *leader)).map(|node| (replica.term, node))
        });
        hints.max().map(|(epoch, node)| LeaderHint { epoch, node: Some(node) }).unwrap_or_default()
    }

    /// All that the nodes now up have said.
    pub(crate) fn up(&self) -> Vec<Arc<NodeStatus>> {
        self.read().values().filter(|said| said.is_up()).map(|said| said.status.clone()).collect()
    }

    fn version(&self, node: NodeId) -> Option<u64> {
        self.read().get(&node).map(|said| said.version)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<NodeId, Said>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a node says, or that it is as before.
    fn take(&self, node: NodeId, answer: VersionedStatus) {
        let (at, version) = (Instant::now(), answer.version);
        let mut board = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match answer.status {
            Some(status) if status.node == node => {
                board.insert(node, Said { at, version, status: Arc::new(status) });
            }
            Some(_) => {}
            None => {
                if let Some(said) = board.get_mut(&node).filter(|said| said.version == version) {
                    said.at = at;
                }
            }
        }
    }
}

/// Asks all other nodes, twice a second.
pub(crate) async fn keep(member: Arc<Member>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let others = member.directory.nodes().into_iter().filter(|node| *node != member.identity.node);
        let member = &member;
        join_all(others.map(|node| async move {
            let ask = async {
                let Ok(client) = member.rpc.get(node).await else { return };
                match client.status(crate::peers::within(CALL_TIMEOUT), member.board.version(node)).await {
                    Ok(Ok(answer)) => member.board.take(node, answer),
                    Ok(Err(_)) => {}
                    Err(_) => member.rpc.forget(node).await,
                }
            };
            // A node that hangs must not keep the statuses of the others from coming.
            drop(tokio::time::timeout(CALL_TIMEOUT, ask).await);
        }))
        .await;
    }
}
