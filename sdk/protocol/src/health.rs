//! What is wrong with a cluster.

use std::fmt;

use quorate_cluster_config::{Address, NodeId};

use crate::topology::{ClusterInfo, NodeState};

/// Something that keeps a cluster from being healthy. Displayed as in "node 2 at 10.0.0.2:7101 is down".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// The metadata group has no leader: nothing can be created, moved or removed.
    NoMetadataLeader,
    /// A node does not answer.
    NodeDown {
        /// The node.
        node: NodeId,
        /// Where clients reached it.
        client_address: Address,
    },
    /// Partitions take no records.
    Leaderless {
        /// How many.
        partitions: u32,
    },
    /// Partitions have a replica that is down, missing or behind.
    UnderReplicated {
        /// How many.
        partitions: u32,
    },
    /// Replicas of a node were refused, have stopped or are damaged.
    FailedReplicas {
        /// The node.
        node: NodeId,
        /// How many.
        replicas: u32,
    },
}

impl ClusterInfo {
    /// Everything that is wrong, worst first; nothing if the cluster is healthy.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.metadata_leader.is_none() {
            problems.push(Problem::NoMetadataLeader);
        }
        let down = self.nodes.iter().filter(|node| node.state == NodeState::Down);
        problems
            .extend(down.map(|node| Problem::NodeDown { node: node.id, client_address: node.client_address.clone() }));
        if self.leaderless_partition_count > 0 {
            problems.push(Problem::Leaderless { partitions: self.leaderless_partition_count });
        }
        if self.under_replicated_partition_count > 0 {
            problems.push(Problem::UnderReplicated { partitions: self.under_replicated_partition_count });
        }
        let failed = self.nodes.iter().filter(|node| node.failed_replica_count > 0);
        problems
            .extend(failed.map(|node| Problem::FailedReplicas { node: node.id, replicas: node.failed_replica_count }));
        problems
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u32| if count == 1 { "" } else { "s" };
        match self {
            Self::NoMetadataLeader => formatter.write_str("the metadata group has no leader"),
            Self::NodeDown { node, client_address } => write!(formatter, "node {node} at {client_address} is down"),
            Self::Leaderless { partitions } => {
                write!(formatter, "{partitions} partition{} without a leader", plural(*partitions))
            }
            Self::UnderReplicated { partitions } => {
                write!(formatter, "{partitions} partition{} under-replicated", plural(*partitions))
            }
            Self::FailedReplicas { node, replicas } => {
                write!(formatter, "{replicas} replica{} failed or damaged on node {node}", plural(*replicas))
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use quorate_cluster_config::ClusterId;

    use super::*;
    use crate::topology::NodeInfo;

    fn reasons(info: &ClusterInfo) -> Vec<String> {
        info.problems().iter().map(ToString::to_string).collect()
    }

    fn info() -> ClusterInfo {
        let node = |id: u64| NodeInfo {
            id: NodeId(id),
            client_address: format!("127.0.0.1:{}", 7100 + id).parse().unwrap(),
            peer_address: format!("127.0.0.1:{}", 7200 + id).parse().unwrap(),
            state: NodeState::Up,
            rack: None,
            drained: false,
            leaving: None,
            metadata_voter: true,
            replica_count: 1,
            leader_count: 1,
            failed_replica_count: 0,
        };
        ClusterInfo {
            cluster_id: ClusterId(1),
            answered_by: NodeId(1),
            metadata_leader: Some(NodeId(2)),
            metadata_index: 7,
            nodes: vec![node(1), node(2)],
            topic_count: 1,
            partition_count: 1,
            leaderless_partition_count: 0,
            under_replicated_partition_count: 0,
            metadata_level: 1,
            metadata_recoveries: Vec::new(),
        }
    }

    #[test]
    fn a_cluster_without_a_reason_is_healthy() {
        assert_eq!(reasons(&info()), [""; 0]);
    }

    #[test]
    fn each_defect_is_a_reason() {
        let mut info = info();
        info.metadata_leader = None;
        info.nodes[0].failed_replica_count = 1;
        info.nodes[1].state = NodeState::Down;
        info.leaderless_partition_count = 1;
        info.under_replicated_partition_count = 2;
        assert_eq!(
            reasons(&info),
            [
                "the metadata group has no leader",
                "node 2 at 127.0.0.1:7102 is down",
                "1 partition without a leader",
                "2 partitions under-replicated",
                "1 replica failed or damaged on node 1",
            ]
        );
    }
}
