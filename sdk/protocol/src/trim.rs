//! Deleting the oldest records of a partition.

use quorate_cluster_config::{PartitionIndex, TopicId};
use serde::{Deserialize, Serialize};

/// Deletes the records of one partition before an offset. Sent to the partition's leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrimRequest {
    /// The topic's id, so that a deleted and recreated topic is never mixed up.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The first record to keep; at most the high watermark. One at or below the log start changes nothing.
    pub before: u64,
}

/// The trim is on stable storage of a majority. Whole segments leave the disk later, in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrimResponse {
    /// The first offset that is retained from now on.
    pub log_start_offset: u64,
}
