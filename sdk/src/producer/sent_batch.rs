//! A batch on its way, and what it owes its records and the buffer.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use quorate_cluster_config::PartitionIndex;
use quorate_record::{BatchBuilder, BatchError, Compression, DecodeLimits, decode_batch};

use super::{
    accumulator::OpenBatch,
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
    pub(super) opened_at: Instant,
    pub(super) deadline: Instant,
    pub(super) pending: PendingBatch,
}

impl SentBatch {
    /// Takes the sequence away: the same records as a batch that was never sent.
    pub(super) fn reopen(self, compression: Compression) -> Result<OpenBatch, (PendingBatch, BatchError)> {
        // The records are our own, whatever their size.
        let limits = DecodeLimits { decompressed_bytes_max: usize::MAX, header_count_max: usize::MAX };
        let mut builder = BatchBuilder::new(compression);
        let decoded = decode_batch(self.bytes, &limits).and_then(|mut records| {
            records.try_for_each(|record| {
                builder.push(&record?.record);
                Ok(())
            })
        });
        if let Err(error) = decoded {
            return Err((self.pending, error));
        }
        let (opened_at, expected_end_offset) = (self.opened_at, self.expected_end_offset);
        let (completion, reserved) = self.pending.release();
        Ok(OpenBatch { builder, reserved, opened_at, completion, expected_end_offset })
    }
}

/// Ends the deliveries of a batch and gives back its room, at the latest when dropped.
#[derive(Debug)]
pub(super) struct PendingBatch {
    partition: PartitionIndex,
    completion: Arc<BatchCompletion>,
    /// Somebody else ends it.
    released: bool,
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
        Self { partition, completion, released: false, reserved, shared }
    }

    /// Leaves deliveries and room to the caller.
    fn release(mut self) -> (Arc<BatchCompletion>, usize) {
        self.released = true;
        (Arc::clone(&self.completion), self.reserved)
    }

    /// Ends the deliveries.
    pub(super) fn end(self, outcome: Result<BatchAck, ProduceError>) {
        self.completion.complete(outcome);
    }
}

impl Drop for PendingBatch {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        // Without effect on a batch that has ended. One that has not is dropped only with the runtime.
        self.completion.complete(Err(ProduceError::Stopped { place: self.shared.place(self.partition) }));
        self.shared.room.add_permits(self.reserved);
    }
}
