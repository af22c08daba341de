//! Nodes, topics, partitions and replicas as clients see them.

use std::time::Duration;

use quorate_cluster_config::{
    Address, ClusterId, Name, NodeId, PartitionIndex, ReplicaId, TopicConfig, TopicId, TopicName,
};
use serde::{Deserialize, Serialize};

use crate::{Departure, MetadataRecoveryInfo, RecoveryInfo};

/// The cluster as the answering node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterInfo {
    /// The cluster's identity.
    pub cluster_id: ClusterId,
    /// The answering node.
    pub answered_by: NodeId,
    /// The node that leads the metadata group, if known.
    pub metadata_leader: Option<NodeId>,
    /// The last metadata log index this node has applied.
    pub metadata_index: u64,
    /// All registered nodes, by id.
    pub nodes: Vec<NodeInfo>,
    /// Number of topics.
    pub topic_count: u32,
    /// Number of partitions of all topics.
    pub partition_count: u32,
    /// Partitions without a known leader.
    pub leaderless_partition_count: u32,
    /// Partitions of which a replica is down, missing or behind.
    pub under_replicated_partition_count: u32,
    /// The level of the metadata: what all nodes understand.
    pub metadata_level: u32,
    /// When the metadata went on from one of their replicas alone, oldest first.
    pub metadata_recoveries: Vec<MetadataRecoveryInfo>,
}

/// Whether a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// It answered the asking node within the last seconds.
    Up,
    /// It did not.
    Down,
}

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its id.
    pub id: NodeId,
    /// Where clients reach it.
    pub client_address: Address,
    /// Where its peers reach it.
    pub peer_address: Address,
    /// Whether it answers the answering node.
    pub state: NodeState,
    /// Its failure domain, if it has been given one.
    pub rack: Option<Name>,
    /// Whether it is to lead nothing, for maintenance.
    pub drained: bool,
    /// How it is about to leave the cluster, if it is.
    pub leaving: Option<Departure>,
    /// Whether its replica of the metadata votes.
    pub metadata_voter: bool,
    /// Partition replicas placed on it.
    pub replica_count: u32,
    /// Partitions it leads, as far as known.
    pub leader_count: u32,
    /// Replicas on it that were refused at start (damage or doubt), were stopped by a storage failure, or go on with a
    /// log that is damaged.
    pub failed_replica_count: u32,
}

/// Topics asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopicSelector {
    /// Every topic.
    All,
    /// The topic of this name.
    Name(TopicName),
    /// The topic of this id.
    Id(TopicId),
}

/// Asks for topics with their partitions and leaders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicsRequest {
    /// Which topics.
    pub selector: TopicSelector,
    /// The client's newest metadata index: the node waits (up to 2 s) until it has applied it.
    pub min_metadata_index: u64,
}

/// The topics found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicsResponse {
    /// The metadata index this answer reflects.
    pub metadata_index: u64,
    /// All registered nodes.
    pub nodes: Vec<NodeInfo>,
    /// The topics, by name.
    pub topics: Vec<TopicInfo>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicInfo {
    /// Its id, never used again.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Its configuration.
    pub config: TopicConfig,
    /// The metadata index at which it was created.
    pub created_at: u64,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionInfo>,
    /// The partitions that went on from one of their replicas alone, oldest first.
    pub recoveries: Vec<RecoveryInfo>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionInfo {
    /// Its index.
    pub index: PartitionIndex,
    /// The node that leads it, if known.
    pub leader: Option<NodeId>,
    /// The term of that leader; 0 if none was ever known. Hints with a greater epoch are newer.
    pub leader_epoch: u64,
    /// The first offset not yet committed, as last heard of the leader.
    pub high_watermark: u64,
    /// Its replicas; the first is the preferred leader.
    pub replicas: Vec<ReplicaInfo>,
}

/// What a replica does, as last heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaRole {
    /// It leads.
    Leader,
    /// It follows and votes.
    Follower,
    /// It receives the log but has no vote.
    Learner,
    /// It stands for election.
    Candidate,
    /// Its node does not answer, or does not have it yet.
    Unknown,
    /// Its node refused to start it, or a storage failure stopped it; `detail` says why.
    Failed,
}

/// A replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaInfo {
    /// Its id, never used again.
    pub id: ReplicaId,
    /// The node it is placed on.
    pub node: NodeId,
    /// What it does.
    pub role: ReplicaRole,
    /// The first offset that its log retains.
    pub log_start_offset: u64,
    /// The end of its log on stable storage, as an offset.
    pub log_end_offset: u64,
    /// The bytes of its log on disk. Of one that catches up they grow towards those of the others.
    pub log_bytes: u64,
    /// Why it failed, for [`ReplicaRole::Failed`]; for any other role, what of its log is damaged, if anything: it goes on,
    /// does not stand for leader, and serves nothing across the damage.
    pub detail: Option<String>,
}

/// Creates a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTopicRequest {
    /// Its name.
    pub name: TopicName,
    /// Its configuration.
    pub config: TopicConfig,
}

/// Changes a topic. What is `None` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterTopicRequest {
    /// Its id: a topic of the same name created meanwhile stays as it is.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// How many partitions it is to have: no fewer than it has.
    pub partitions: Option<u32>,
    /// How many replicas each partition is to have.
    pub replication_factor: Option<u32>,
    /// How long records are kept; `Some(None)`: for ever.
    pub retention_time: Option<Option<Duration>>,
    /// How many bytes a partition may have; `Some(None)`: any number.
    pub retention_bytes: Option<Option<u64>>,
}

/// Has a node lead nothing, or lead again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRequest {
    /// The node.
    pub node: NodeId,
    /// Whether it is to lead nothing.
    pub drained: bool,
}

/// Deletes a topic and all of its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTopicRequest {
    /// Its id: a topic of the same name created meanwhile is another topic and stays.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_a_topic_survive_the_wire() {
        for (time, bytes) in [
            (Some(Duration::from_millis(1_500)), Some(1 << 60)),
            (None, Some(1 << 20)),
            (Some(Duration::from_secs(1)), None),
            (None, None),
        ] {
            let config =
                TopicConfig { partitions: 7, retention_time: time, retention_bytes: bytes, ..TopicConfig::default() };
            let request = CreateTopicRequest { name: TopicName::parse("orders").unwrap(), config };
            let decoded: CreateTopicRequest = crate::decode(&crate::encode(&request).unwrap()).unwrap();
            assert_eq!(decoded, request);
        }
    }
}
