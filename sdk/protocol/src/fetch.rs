//! Reading record batches and asking for offsets.

use std::time::Duration;

use quorate_cluster_config::{PartitionIndex, TopicId};
use serde::{Deserialize, Serialize};

use crate::Payload;

/// Which replica may answer a fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServeFrom {
    /// The leader only: the answer reaches to the newest committed record.
    #[default]
    Leader,
    /// Any replica, from what it knows to be committed. Its high watermark may be behind the leader's; asked for an offset
    /// beyond it, it waits or answers empty, and never says that the offset is out of range.
    AnyReplica,
}

/// Reads committed record batches of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchRequest {
    /// The topic's id.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The first record wanted. If it lies inside a batch, the whole batch is returned.
    pub offset: u64,
    /// The most bytes to return, 1 to `FETCH_BYTES_MAX`; the first batch is returned even if it is larger.
    pub max_bytes: u32,
    /// Wait until this many bytes can be returned, at most `max_wait`.
    pub min_bytes: u32,
    /// How long to wait for `min_bytes`, at most `FETCH_WAIT_MAX`.
    pub max_wait: Duration,
    /// Which replica may answer.
    pub serve_from: ServeFrom,
}

/// Whole record batches, in offset order, as the disk holds them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchResponse {
    /// The concatenated batches; empty when nothing was there in time.
    pub batches: Payload,
    /// The first offset not yet committed, as of this answer and as far as the answering replica knows.
    pub high_watermark: u64,
    /// The first offset that is retained.
    pub log_start_offset: u64,
}

/// Which offset of the partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OffsetQuery {
    /// The first retained offset.
    First,
    /// The first offset not yet committed; linearizable: at or above every acknowledged record.
    Last,
    /// The first offset of the first retained batch that its leader took at or after this time, in ms since 1970 by the
    /// leader's clock. If there is none, the first offset not yet committed; linearizable.
    AtTime {
        /// Milliseconds since 1970-01-01T00:00:00Z; before it where negative.
        ms: i64,
    },
}

/// Asks the leader for an offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetsRequest {
    /// The topic's id.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// Which offset.
    pub query: OffsetQuery,
}

/// The offset asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetsResponse {
    /// The offset.
    pub offset: u64,
}
