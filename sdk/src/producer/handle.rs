//! The producer as its users hold it.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use quorate_cluster_config::{
    PartitionIndex, ProducerId, TopicId, TopicName,
    limits::{BATCH_BYTES_MAX, RECORD_BYTES_MAX},
};
use quorate_protocol::TopicInfo;
use quorate_record::{BatchBuilder, Compression, Record};
use tokio::{sync::Semaphore, time::timeout_at};

use super::{
    accumulator::{Accumulator, Pushed, Room},
    builder::Settings,
    delivery::{Delivery, RecordMetadata, UnobservedFailures},
    error::ProduceError,
    partition_task::PartitionTask,
    partitioner::{Choice, Partitioner},
};
use crate::{client::Client, place::Place};

/// A record and where it should go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    /// The partition; `None` leaves it to the producer: by the key, or spread evenly.
    pub partition: Option<PartitionIndex>,
    /// The record.
    pub record: Record,
}

impl From<Record> for ProducerRecord {
    fn from(record: Record) -> Self {
        Self { partition: None, record }
    }
}

/// Appends records to a topic, each exactly once and, per partition, in the order of the calls to
/// [`send`](Self::send).
///
/// Cheap to clone; clones share buffer, order and producer id. When the last clone is dropped, what is buffered is
/// still delivered in the background, but nobody learns of errors: [`close`](Self::close) first.
#[derive(Clone, Debug)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// What the clones of a producer share. Its partition tasks do not hold it, so that its drop can stop them.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    default_partition: Option<PartitionIndex>,
    partitioner: Partitioner,
    /// One per partition, made with the first record.
    accumulators: Vec<OnceLock<Arc<Accumulator>>>,
    closed: AtomicBool,
    /// Never filled: it tells the size of a record as encoded.
    empty: BatchBuilder,
}

/// What a producer and its partition tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) topic: TopicId,
    pub(super) topic_name: TopicName,
    pub(super) settings: Settings,
    /// The producer id each partition starts with.
    pub(super) producer_id: ProducerId,
    /// Free bytes of the buffer.
    pub(super) room: Semaphore,
    pub(super) failures: Arc<UnobservedFailures>,
}

impl Shared {
    pub(super) fn place(&self, partition: PartitionIndex) -> Box<Place> {
        Place::of_partition(Some(&self.topic_name), partition)
    }
}

impl Producer {
    pub(super) fn new(
        client: Client,
        topic: &TopicInfo,
        default_partition: Option<PartitionIndex>,
        producer_id: ProducerId,
        settings: Settings,
    ) -> Self {
        let partition_count = topic.config.partitions;
        let shared = Shared {
            client,
            topic: topic.id,
            topic_name: topic.name.clone(),
            settings,
            producer_id,
            room: Semaphore::new(settings.buffer_bytes),
            failures: Arc::default(),
        };
        let handle = Handle {
            shared: Arc::new(shared),
            default_partition,
            partitioner: Partitioner::new(partition_count),
            accumulators: (0..partition_count).map(|_| OnceLock::new()).collect(),
            closed: AtomicBool::new(false),
            empty: BatchBuilder::new(Compression::None),
        };
        Self { handle: Arc::new(handle) }
    }

    /// Buffers a record, waiting for room in the buffer, and returns its delivery.
    ///
    /// # Errors
    /// [`ProduceError::RecordTooLarge`] or [`ProduceError::UnknownPartition`] before anything is sent,
    /// [`ProduceError::BufferFull`] if no room was found within the delivery timeout, [`ProduceError::Closed`].
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, ProduceError> {
        let Handle { shared, partitioner, .. } = &*self.handle;
        let ProducerRecord { partition, record } = record;
        let partition = partition.or(self.handle.default_partition);
        partition.map_or(Ok(()), |partition| self.require_partition(partition))?;
        let reserved = self.checked_size(&record)? + RECORD_OVERHEAD;
        self.reserve(reserved).await?;
        let choice = match partition {
            Some(partition) => Choice::Exactly(partition),
            None => partitioner.choose(record.key.as_deref()),
        };
        let pushed = match choice {
            Choice::Exactly(partition) => self.push(partition, &record, reserved, Room::Any),
            Choice::Sticky(partition) => match self.push(partition, &record, reserved, Room::InOpenBatch) {
                Ok(Pushed::NoRoom) => self.push(partitioner.next_sticky(partition), &record, reserved, Room::Any),
                pushed => pushed,
            },
        };
        match pushed {
            Ok(Pushed::Taken(delivery)) => Ok(delivery),
            Ok(Pushed::NoRoom) | Err(_) => {
                shared.room.add_permits(reserved);
                Err(ProduceError::Closed)
            }
        }
    }

    /// Appends the records as one batch whose first record gets exactly the offset `expected_end_offset`, or not at all:
    /// the partition decides it, so of several writers that expect the same end offset one succeeds. Waits until the batch
    /// is on stable storage of a majority, and returns the metadata of its first record.
    ///
    /// What the producer sent to the partition before goes first, and records sent later follow. A batch whose answer was
    /// lost is sent again with the same sequence, so it is recognised if it was appended, not taken for a mismatch. If
    /// the future is dropped, the batch is still sent.
    ///
    /// # Errors
    /// [`ProduceError::EndOffsetMismatch`] if the partition ends elsewhere; [`ProduceError::EmptyBatch`],
    /// [`ProduceError::RecordTooLarge`], [`ProduceError::BatchTooLarge`] or [`ProduceError::UnknownPartition`] before
    /// anything is sent; else as [`send`](Self::send) and its [`Delivery`].
    pub async fn send_batch_at(
        &self,
        partition: PartitionIndex,
        expected_end_offset: u64,
        records: &[Record],
    ) -> Result<RecordMetadata, ProduceError> {
        let settings = &self.handle.shared.settings;
        self.require_partition(partition)?;
        if records.is_empty() {
            return Err(ProduceError::EmptyBatch);
        }
        let size_max = BATCH_BYTES_MAX.min(settings.buffer_bytes);
        let mut builder = BatchBuilder::new(settings.batching.compression);
        for record in records {
            self.checked_size(record)?;
            builder.push(record);
            let size = builder.estimated_size() + RECORD_OVERHEAD;
            if size > size_max {
                return Err(ProduceError::BatchTooLarge { size, size_max });
            }
        }
        let reserved = builder.estimated_size() + RECORD_OVERHEAD;
        self.reserve(reserved).await?;
        let pushed = self
            .accumulator(partition)
            .and_then(|accumulator| accumulator.push_conditional(builder, reserved, expected_end_offset));
        match pushed {
            Ok(delivery) => delivery.await,
            Err(error) => {
                self.handle.shared.room.add_permits(reserved);
                Err(error)
            }
        }
    }

    fn require_partition(&self, partition: PartitionIndex) -> Result<(), ProduceError> {
        let partition_count = self.handle.accumulators.len() as u32;
        if partition < partition_count {
            return Ok(());
        }
        Err(ProduceError::UnknownPartition { place: self.handle.shared.place(partition), partition_count })
    }

    /// The size of a record as encoded, if a topic takes it.
    fn checked_size(&self, record: &Record) -> Result<usize, ProduceError> {
        let empty = &self.handle.empty;
        let size = empty.size_after(record) - empty.estimated_size();
        if size > RECORD_BYTES_MAX {
            return Err(ProduceError::RecordTooLarge { size, size_max: RECORD_BYTES_MAX });
        }
        Ok(size)
    }

    async fn reserve(&self, bytes: usize) -> Result<(), ProduceError> {
        let Shared { room, settings, .. } = &*self.handle.shared;
        // Sizes fit 32 bits: the largest record and its overhead do.
        let permits = bytes as u32;
        let permit = match room.try_acquire_many(permits) {
            Ok(permit) => permit,
            Err(_) => {
                let deadline = Instant::now() + settings.delivery_timeout;
                match timeout_at(deadline.into(), room.acquire_many(permits)).await {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) => return Err(ProduceError::Closed),
                    Err(_) => {
                        let place = Place::of_topic(&self.handle.shared.topic_name);
                        return Err(ProduceError::BufferFull { place, waited: settings.delivery_timeout });
                    }
                }
            }
        };
        // Given back by the partition task when the record's batch has ended.
        permit.forget();
        Ok(())
    }

    fn push(
        &self,
        partition: PartitionIndex,
        record: &Record,
        reserved: usize,
        room: Room,
    ) -> Result<Pushed, ProduceError> {
        self.accumulator(partition)?.push(record, reserved, room)
    }

    /// Takes the records of a partition; made with the first of them.
    fn accumulator(&self, partition: PartitionIndex) -> Result<&Arc<Accumulator>, ProduceError> {
        if self.handle.closed.load(Ordering::Acquire) {
            return Err(ProduceError::Closed);
        }
        let accumulator = self.handle.accumulators.get(partition as usize).ok_or(ProduceError::Closed)?;
        Ok(accumulator.get_or_init(|| PartitionTask::spawn(partition, &self.handle.shared)))
    }

    /// Sends what is buffered without lingering and waits until everything sent before this call has ended, well or
    /// not.
    ///
    /// # Errors
    /// The first error since the last flush whose [`Delivery`] was dropped without looking.
    pub async fn flush(&self) -> Result<(), ProduceError> {
        let unfinished: Vec<_> = self.handle.started().flat_map(|accumulator| accumulator.flush()).collect();
        for completion in unfinished {
            completion.ended().await;
        }
        self.handle.shared.failures.take().map_or(Ok(()), Err)
    }

    /// Takes no more records, of this or any clone, and flushes.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn close(&self) -> Result<(), ProduceError> {
        self.handle.close();
        self.flush().await
    }
}

/// Bytes the buffer counts for a record besides its encoding: its delivery, its share of the batch.
const RECORD_OVERHEAD: usize = 64;

impl Handle {
    fn started(&self) -> impl Iterator<Item = &Arc<Accumulator>> {
        self.accumulators.iter().filter_map(OnceLock::get)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.started().for_each(|accumulator| accumulator.close());
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
        let undelivered = self.started().flat_map(|accumulator| accumulator.unfinished());
        let records: usize = undelivered.map(|batch| batch.records()).sum();
        if records > 0 {
            let bytes = self.shared.settings.buffer_bytes.saturating_sub(self.shared.room.available_permits());
            tracing::warn!(
                records,
                bytes,
                topic = %self.shared.topic_name,
                "a producer was dropped with undelivered records; they are still sent while the runtime lives, but \
                 errors are lost: close it first"
            );
        }
    }
}
