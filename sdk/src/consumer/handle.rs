//! The consumer of given partitions, as its users hold it.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use quorate_cluster_config::{PartitionId, PartitionIndex, TopicId, TopicName};
use quorate_protocol::{ErrorCode, OffsetQuery};
use quorate_record::Record;

use super::{builder::OFFSETS_IN_FLIGHT_MAX, chunk::Chunk, engine::Engine, position::Position};
use crate::{error::Error, place::Place, time::bounded};

/// A record and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// Its topic.
    pub topic: Arc<TopicName>,
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its offset.
    pub offset: u64,
    /// The record.
    pub record: Record,
    /// The topic's id and the partition.
    pub(crate) id: PartitionId,
}

impl ConsumedRecord {
    /// The topic's id and the partition: where a topic is deleted and made again under its name, that is another one.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.id
    }
}

/// Whole batches of one partition, not decoded, their CRCs checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawBatches {
    /// The partition.
    pub partition: PartitionIndex,
    /// The concatenated batches, as [`split_batches`](crate::split_batches) takes them. The first may begin before the
    /// consumer's position, and the last may go beyond where the consumer is to stop.
    pub batches: Bytes,
    /// The offset after the last record.
    pub next_offset: u64,
}

/// Reads partitions of a topic, each in order and without gaps.
///
/// Records are fetched ahead of the calls to [`poll`](Self::poll), or of the stream: a consumer is a
/// [`Stream`] of records, which ends where the consumer was told to stop, if anywhere. An error concerns one partition; the
/// next poll tries it again from where it stood.
#[derive(Debug)]
pub struct Consumer {
    engine: Engine,
    topic: TopicId,
}

impl Consumer {
    pub(super) fn new(engine: Engine, topic: TopicId) -> Self {
        Self { engine, topic }
    }

    /// The next records of one of the partitions, in order. Empty if there are none within `timeout`, or if the consumer
    /// [is done](Self::is_done).
    ///
    /// # Errors
    /// What went wrong with one partition, such as [`Error::OffsetOutOfRange`] if the next record was deleted before it
    /// was read, or [`Error::TimedOut`] while the partition has no leader. The next poll tries again. A partition read from
    /// [`Position::First`] of which nothing was read yet goes on with what is then its first record.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumedRecord>, Error> {
        self.engine.next_records(Instant::now() + bounded(timeout)).await
    }

    /// As [`poll`](Self::poll), but whole batches that are not decoded. Empty if there are none within `timeout`.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub async fn poll_raw(&mut self, timeout: Duration) -> Result<Vec<RawBatches>, Error> {
        let deadline = Instant::now() + bounded(timeout);
        let Some((partition, chunk)) = self.engine.next_chunk(deadline).await? else {
            return Ok(Vec::new());
        };
        let mut polled = vec![self.hand_out_raw(partition, chunk)?];
        let most = self.engine.partitions().count();
        // From here on without waiting: a caller that drops the future at an await must not lose what it took.
        while polled.len() < most
            && let Some(accepted) = self.engine.try_next_chunk()
        {
            match accepted.and_then(|(partition, chunk)| self.hand_out_raw(partition, chunk)) {
                Ok(raw) => polled.push(raw),
                // The partition has stopped, and the next poll tries it again: the error is not lost.
                Err(_) => break,
            }
        }
        Ok(polled)
    }

    fn hand_out_raw(&mut self, partition: PartitionId, chunk: Chunk) -> Result<RawBatches, Error> {
        let verified = chunk.verified();
        self.engine.hand_out(partition, verified.as_ref().ok().map(|(_, next_offset)| *next_offset));
        let partition = partition.index;
        verified.map(|(batches, next_offset)| RawBatches { partition, batches, next_offset })
    }

    /// Whether everything is read up to where the consumer was told to stop.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.engine.is_done()
    }

    /// The offset of the next record that will be polled from the partition; `None` if it is not read.
    #[must_use]
    pub fn position(&self, partition: PartitionIndex) -> Option<u64> {
        self.engine.position(self.id(partition))
    }

    /// Continues to read the partition from somewhere else.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownPartition`] if the consumer does not read it; errors of looking up the first or last offset.
    pub async fn seek(&mut self, partition: PartitionIndex, position: Position) -> Result<(), Error> {
        let id = self.id(partition);
        if !self.engine.reads(id) {
            return Err(not_read("seek in", id));
        }
        let offset = position.resolve(self.engine.client(), id).await?;
        self.engine.seek(id, offset, position == Position::First);
        Ok(())
    }

    /// Reads nothing of a partition until [`resume`](Self::resume): others go on, and nothing is fetched of this one.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownPartition`] if the consumer does not read it.
    pub fn pause(&mut self, partition: PartitionIndex) -> Result<(), Error> {
        self.set_paused(partition, true)
    }

    /// Goes on with a partition that was paused, from where it stood.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownPartition`] if the consumer does not read it.
    pub fn resume(&mut self, partition: PartitionIndex) -> Result<(), Error> {
        self.set_paused(partition, false)
    }

    fn set_paused(&mut self, partition: PartitionIndex, paused: bool) -> Result<(), Error> {
        let id = self.id(partition);
        if self.engine.set_paused(id, paused) { Ok(()) } else { Err(not_read("pause or resume", id)) }
    }

    /// The end offset of each partition it reads. Linearizable: at or above every record acknowledged before the call.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if one of the partitions has no leader in time.
    pub async fn end_offsets(&self) -> Result<BTreeMap<PartitionIndex, u64>, Error> {
        let client = self.engine.client();
        stream::iter(self.engine.partitions())
            .map(|id| async move { Ok((id.index, client.partition_offset(id, OffsetQuery::Last).await?)) })
            .buffer_unordered(OFFSETS_IN_FLIGHT_MAX)
            .try_collect()
            .await
    }

    fn id(&self, partition: PartitionIndex) -> PartitionId {
        PartitionId { topic: self.topic, index: partition }
    }
}

impl Stream for Consumer {
    type Item = Result<ConsumedRecord, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.engine.poll_record(context)
    }
}

/// The refusal of what concerns a partition that is not read.
pub(crate) fn not_read(action: &str, partition: PartitionId) -> Error {
    Error::Refused {
        action: format!("{action} partition {}", partition.index),
        place: Place::of_partition(None, partition.index),
        code: ErrorCode::UnknownPartition,
        message: "this consumer does not read it".into(),
        outcome_unknown: false,
    }
}
