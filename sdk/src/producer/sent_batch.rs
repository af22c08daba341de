//! A batch on its way, and what it owes its records and the buffer.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use quorate_cluster_config::PartitionIndex;

use super::{
    delivery::{BatchAck, BatchCompletion},
    error::ProduceError,
    handle::Shared,
};

/// A batch that has its sequence: these bytes, and no others, are sent until it has ended.
#[derive(Debug)]
pub(super) struct SentBatch {
    pub(super) bytes: Bytes,
    /// The sequence of its first record.
    pub(super) base_sequence: i32,
    /// The only end offset of the partition at which it may be appended.
    pub(super) expected_end_offset: Option<u64>,
    pub(super) deadline: Instant,
    pub(super) pending: PendingBatch,
}

/// Ends the deliveries of a batch and gives back its room, at the latest when dropped.
#[derive(Debug)]
pub(super) struct PendingBatch {
    partition: PartitionIndex,
    completion: Arc<BatchCompletion>,
    /// Bytes of the producer's buffer.
    reserved: usize,
    shared: Arc<Shared>,
}

impl PendingBatch {
    pub(super) fn new(
        partition: PartitionIndex,
        completion: Arc<BatchCompletion>,
        reserved: usize,
        shared: Arc<Shared>,
    ) -> Self {
        Self { partition, completion, reserved, shared }
    }

    /// Ends the deliveries.
    pub(super) fn end(self, outcome: Result<BatchAck, ProduceError>) {
        self.completion.complete(outcome);
    }
}

impl Drop for PendingBatch {
    fn drop(&mut self) {
        // Without effect on a batch that has ended. One that has not is dropped only with the runtime.
        self.completion.complete(Err(ProduceError::Stopped { partition: self.partition }));
        self.shared.room.add_permits(self.reserved);
    }
}
