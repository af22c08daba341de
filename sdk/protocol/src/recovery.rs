//! Partitions, and the metadata, that go on after a majority is gone for good.

use quorate_cluster_config::{NodeId, PartitionIndex, ReplicaId, TopicId};
use serde::{Deserialize, Serialize};

/// A replica that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurvivorInfo {
    /// The replica.
    pub replica: ReplicaId,
    /// Its node.
    pub node: NodeId,
    /// One past the last offset it has on stable storage.
    pub log_end_offset: u64,
    /// One past the last offset that it knows to be committed.
    pub high_watermark: u64,
    /// Whether its log is damaged somewhere.
    pub damaged: bool,
}

/// A replica that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingInfo {
    /// The replica.
    pub replica: ReplicaId,
    /// Its node.
    pub node: NodeId,
}

/// What could become of a partition without the replicas that are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutlookInfo {
    /// The partition.
    pub partition: PartitionIndex,
    /// Whether a majority is there: then nothing needs to be recovered.
    pub has_majority: bool,
    /// The replicas that are there, the one to go on from first.
    pub survivors: Vec<SurvivorInfo>,
    /// Those that are not.
    pub missing: Vec<MissingInfo>,
}

/// Has a partition go on from one of its replicas alone, if that is still the best there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverRequest {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The replica, as the outlook named it.
    pub survivor: ReplicaId,
    /// One past the last offset it had then.
    pub log_end_offset: u64,
}

/// A partition that went on from one of its replicas alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryInfo {
    /// The partition.
    pub partition: PartitionIndex,
    /// The metadata index of the decision.
    pub metadata_index: u64,
    /// When that was, milliseconds since 1970.
    pub decided_at_ms: i64,
    /// The node of that replica.
    pub node: NodeId,
    /// One past the last offset it had: records from there on that only the others had are lost.
    pub log_end_offset: u64,
    /// One past the last offset it knew to be committed: records from there on may have come to stay unacknowledged.
    pub high_watermark: u64,
    /// The nodes of the others.
    pub lost: Vec<NodeId>,
}

/// The metadata went on from one of their replicas alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataRecoveryInfo {
    /// The metadata index of the decision.
    pub metadata_index: u64,
    /// When that was, milliseconds since 1970.
    pub decided_at_ms: i64,
    /// The node of that replica.
    pub node: NodeId,
    /// The nodes that were given up as dead.
    pub lost: Vec<NodeId>,
}
