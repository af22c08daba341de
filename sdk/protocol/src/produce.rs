//! Appending a record batch.

use std::time::Duration;

use bytes::Bytes;
use quorate_cluster_config::{PartitionIndex, TopicId};
use serde::{Deserialize, Serialize};

/// Appends one record batch to a partition. Sent to the partition's leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProduceRequest {
    /// The topic's id, so that a deleted and recreated topic is never mixed up.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// One record batch, as [`quorate_record`] builds it; at most `BATCH_BYTES_MAX` bytes.
    pub batch: Bytes,
    /// If given, the append happens only if this is the partition's end offset at that point of the log.
    pub expected_end_offset: Option<u64>,
    /// How long the node may take to answer. Past it the outcome is unknown.
    pub timeout: Duration,
}

/// The batch is on stable storage of a majority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProduceResponse {
    /// The offset of the batch's first record.
    pub base_offset: u64,
    /// The leader's term when the batch was appended.
    pub leader_epoch: u64,
    /// Whether the batch had been appended before, by an earlier try of the same request.
    pub duplicate: bool,
}
