//! Where replicas are before a node is added and after, and what that says of the moves. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use quorate::{NodeId, PartitionInfo};
use serde::Serialize;

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Replicas on nodes that had none of their partition before.
    pub replicas: usize,
    /// The bytes of their partitions' logs when the node was added: at least so many were sent for the moves.
    pub bytes: u64,
    /// The bytes of their own logs in the end: with what was produced meanwhile.
    pub bytes_in_the_end: u64,
    /// The nodes that led these partitions when the node was added: each may send as much as its own limit allows.
    pub senders: usize,
}

/// Replicas by node, of all nodes of the cluster.
pub(super) fn replicas_by_node(nodes: &[NodeId], partitions: &[PartitionInfo]) -> BTreeMap<NodeId, usize> {
    let mut counts: BTreeMap<NodeId, usize> = nodes.iter().map(|node| (*node, 0)).collect();
    for replica in partitions.iter().flat_map(|partition| &partition.replicas) {
        *counts.entry(replica.node).or_default() += 1;
    }
    counts
}

/// What was moved between two looks at the same partitions.
pub(super) fn moved(before: &[PartitionInfo], after: &[PartitionInfo]) -> Moved {
    let (mut moved, mut senders) = (Moved::default(), BTreeSet::new());
    for (before, after) in before.iter().zip(after) {
        let had = |node: NodeId| before.replicas.iter().any(|replica| replica.node == node);
        for replica in after.replicas.iter().filter(|replica| !had(replica.node)) {
            moved.replicas += 1;
            moved.bytes += before.replicas.iter().map(|replica| replica.log_bytes).max().unwrap_or_default();
            moved.bytes_in_the_end += replica.log_bytes;
            senders.extend(before.leader);
        }
    }
    Moved { senders: senders.len(), ..moved }
}

#[cfg(test)]
mod tests {
    use quorate::{ReplicaId, ReplicaInfo, ReplicaRole};

    use super::*;

    fn partition(index: u32, leader: u64, replicas: &[(u64, u64)]) -> PartitionInfo {
        let replica = |(node, log_bytes): &(u64, u64)| ReplicaInfo {
            id: ReplicaId(*node),
            node: NodeId(*node),
            role: ReplicaRole::Follower,
            log_start_offset: 0,
            log_end_offset: 0,
            log_bytes: *log_bytes,
            detail: None,
        };
        let replicas = replicas.iter().map(replica).collect();
        PartitionInfo { index, leader: Some(NodeId(leader)), leader_epoch: 1, high_watermark: 0, replicas }
    }

    #[test]
    fn only_replicas_in_new_places_were_moved() {
        let all = [(1, 100), (2, 90), (3, 100)];
        let before = [partition(0, 1, &all), partition(1, 2, &all), partition(2, 2, &all)];
        let after = [
            partition(0, 1, &[(1, 110), (2, 110), (3, 110)]),
            partition(1, 4, &[(1, 120), (3, 120), (4, 115)]),
            partition(2, 2, &[(2, 130), (3, 130), (4, 130)]),
        ];
        let expected = Moved { replicas: 2, bytes: 200, bytes_in_the_end: 245, senders: 1 };
        assert_eq!(moved(&before, &after), expected);
        let nodes = [1, 2, 3, 4, 5].map(NodeId);
        let counts: Vec<_> =
            replicas_by_node(&nodes, &after).into_iter().map(|(node, count)| (node.0, count)).collect();
        assert_eq!(counts, [(1, 2), (2, 2), (3, 3), (4, 2), (5, 0)], "a node without any counts too");
        assert_eq!(moved(&before, &before), Moved::default());
    }
}
