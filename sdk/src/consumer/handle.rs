//! The consumer as its users hold it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use quorate_cluster_config::{PartitionIndex, TopicId, limits::REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX};
use quorate_protocol::{ErrorCode, OffsetQuery, ServeFrom};
use quorate_record::Record;
use tokio::{
    sync::{Semaphore, mpsc},
    task::AbortHandle,
    time::timeout_at,
};

use super::{
    builder::{FetchSettings, OFFSETS_IN_FLIGHT_MAX},
    chunk::Chunk,
    fetch_task::{FetchTask, Fetched, divided_wait},
    position::Position,
};
use crate::{client::Client, error::Error, routing::ReplicaChoice, time::bounded};

/// Fetches of one consumer that nodes may hold at once: other calls share the connections.
const FETCHES_IN_FLIGHT_MAX: usize = REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX / 2;

/// A record and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its offset.
    pub offset: u64,
    /// The record.
    pub record: Record,
}

/// Whole batches of one partition, not decoded, their CRCs checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawBatches {
    /// The partition.
    pub partition: PartitionIndex,
    /// The concatenated batches, as [`split_batches`](crate::split_batches) takes them. The first may begin before the
    /// consumer's position.
    pub batches: Bytes,
    /// The offset after the last record.
    pub next_offset: u64,
}

/// Reads partitions of a topic, each in order and without gaps.
///
/// Records are fetched ahead of the calls to [`poll`](Self::poll). An error concerns one partition; the next poll
/// tries it again from where it stood.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    topic: TopicId,
    settings: FetchSettings,
    partitions: BTreeMap<PartitionIndex, Assigned>,
    in_flight: Arc<Semaphore>,
    /// Room for a chunk of each partition and more; tasks wait where it is full.
    sender: mpsc::Sender<Fetched>,
    fetched: mpsc::Receiver<Fetched>,
}

/// A partition the consumer reads.
#[derive(Debug)]
struct Assigned {
    /// The next offset to hand out.
    position: u64,
    /// It began at the first record and has handed out none: if that record is gone, the next one is the first.
    at_first: bool,
    generation: u64,
    task: Option<AbortOnDrop>,
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Consumer {
    pub(super) fn new(
        client: Client,
        topic: TopicId,
        mut settings: FetchSettings,
        from: Position,
        positions: BTreeMap<PartitionIndex, u64>,
    ) -> Self {
        settings.max_wait = divided_wait(settings.max_wait, positions.len(), FETCHES_IN_FLIGHT_MAX);
        let (sender, fetched) = mpsc::channel(positions.len().max(1));
        let partitions =
            positions.into_iter().map(|(partition, position)| (partition, Assigned::new(position, from))).collect();
        let in_flight = Arc::new(Semaphore::new(FETCHES_IN_FLIGHT_MAX));
        let mut consumer = Self { client, topic, settings, partitions, in_flight, sender, fetched };
        consumer.start_tasks();
        consumer
    }

    /// The next records of one of the partitions, in order. Empty if there are none within `timeout`.
    ///
    /// # Errors
    /// What went wrong with one partition, such as [`Error::OffsetOutOfRange`] if the next record was deleted before it
    /// was read, or [`Error::TimedOut`] while the partition has no leader. The next poll tries again. A partition read from
    /// [`Position::First`] of which nothing was read yet goes on with what is then its first record.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumedRecord>, Error> {
        let deadline = Instant::now() + bounded(timeout);
        while let Some((partition, chunk)) = self.next_chunk(deadline).await? {
            let decoded = chunk.decode();
            if let Some(assigned) = self.partitions.get_mut(&partition) {
                assigned.position = decoded.next_offset;
                if decoded.error.is_some() {
                    assigned.stop();
                }
            }
            match decoded.error {
                // The records before the damage come first; the next poll meets the damage again.
                Some(error) if decoded.records.is_empty() => return Err(error),
                _ if decoded.records.is_empty() => {}
                _ => return Ok(decoded.records),
            }
        }
        Ok(Vec::new())
    }

    /// As [`poll`](Self::poll), but whole batches that are not decoded. Empty if there are none within `timeout`.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub async fn poll_raw(&mut self, timeout: Duration) -> Result<Vec<RawBatches>, Error> {
        let deadline = Instant::now() + bounded(timeout);
        let Some((partition, chunk)) = self.next_chunk(deadline).await? else {
            return Ok(Vec::new());
        };
        let mut polled = vec![self.hand_out_raw(partition, chunk)?];
        // From here on without waiting: a caller that drops the future at an await must not lose what it took.
        while polled.len() < self.partitions.len()
            && let Ok(fetched) = self.fetched.try_recv()
        {
            let raw = match self.accept(fetched) {
                None => continue,
                Some(accepted) => accepted.and_then(|(partition, chunk)| self.hand_out_raw(partition, chunk)),
            };
            match raw {
                Ok(raw) => polled.push(raw),
                // The partition has stopped, and the next poll tries it again: the error is not lost.
                Err(_) => break,
            }
        }
        Ok(polled)
    }

    fn hand_out_raw(&mut self, partition: PartitionIndex, chunk: Chunk) -> Result<RawBatches, Error> {
        let verified = chunk.verified();
        if let Some(assigned) = self.partitions.get_mut(&partition) {
            match &verified {
                Ok((_, next_offset)) => assigned.position = *next_offset,
                Err(_) => assigned.stop(),
            }
        }
        verified.map(|(batches, next_offset)| RawBatches { partition, batches, next_offset })
    }

    /// The offset of the next record that will be polled from the partition; `None` if it is not read.
    #[must_use]
    pub fn position(&self, partition: PartitionIndex) -> Option<u64> {
        self.partitions.get(&partition).map(|assigned| assigned.position)
    }

    /// Continues to read the partition from somewhere else.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownPartition`] if the consumer does not read it; errors of looking up the first or last offset.
    pub async fn seek(&mut self, partition: PartitionIndex, position: Position) -> Result<(), Error> {
        if !self.partitions.contains_key(&partition) {
            return Err(Error::Refused {
                action: format!("seek in partition {partition}"),
                code: ErrorCode::UnknownPartition,
                message: "this consumer does not read it; build one that does".into(),
                outcome_unknown: false,
            });
        }
        let offset = position.resolve(&self.client, self.topic, partition).await?;
        if let Some(assigned) = self.partitions.get_mut(&partition) {
            assigned.stop();
            assigned.position = offset;
            assigned.at_first = position == Position::First;
        }
        self.start_tasks();
        Ok(())
    }

    /// The end offset of each partition it reads. Linearizable: at or above every record acknowledged before the call.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if one of the partitions has no leader in time.
    pub async fn end_offsets(&self) -> Result<BTreeMap<PartitionIndex, u64>, Error> {
        let (client, topic) = (&self.client, self.topic);
        stream::iter(self.partitions.keys().copied())
            .map(|partition| async move {
                Ok((partition, client.partition_offset(topic, partition, OffsetQuery::Last).await?))
            })
            .buffer_unordered(OFFSETS_IN_FLIGHT_MAX)
            .try_collect()
            .await
    }

    /// The next chunk that is not out of date, or `None` at the deadline.
    async fn next_chunk(&mut self, deadline: Instant) -> Result<Option<(PartitionIndex, Chunk)>, Error> {
        self.start_tasks();
        while let Ok(Some(fetched)) = timeout_at(deadline.into(), self.fetched.recv()).await {
            if let Some(accepted) = self.accept(fetched) {
                return accepted.map(Some);
            }
        }
        Ok(None)
    }

    /// What a task fetched; `None` if it is out of date. After an error the partition has stopped.
    fn accept(&mut self, fetched: Fetched) -> Option<Result<(PartitionIndex, Chunk), Error>> {
        let assigned = self.partitions.get_mut(&fetched.partition)?;
        if fetched.generation != assigned.generation {
            return None;
        }
        match &fetched.outcome {
            Err(_) => assigned.stop(),
            Ok(chunk) if chunk.is_empty() => {
                assigned.position = chunk.next_offset();
                return None;
            }
            Ok(_) => assigned.at_first = false,
        }
        Some(fetched.outcome.map(|chunk| (fetched.partition, chunk)))
    }

    /// Starts the tasks of the partitions that have none.
    fn start_tasks(&mut self) {
        for (partition, assigned) in &mut self.partitions {
            if assigned.task.is_some() {
                continue;
            }
            let task = FetchTask {
                client: self.client.clone(),
                topic: self.topic,
                partition: *partition,
                generation: assigned.generation,
                offset: assigned.position,
                at_first: assigned.at_first,
                choice: (self.settings.serve_from == ServeFrom::AnyReplica).then(ReplicaChoice::new),
                settings: self.settings,
                in_flight: Arc::clone(&self.in_flight),
                fetched: self.sender.clone(),
            };
            assigned.task = Some(AbortOnDrop(tokio::spawn(task.run()).abort_handle()));
        }
    }
}

impl Assigned {
    fn new(position: u64, from: Position) -> Self {
        Self { position, at_first: from == Position::First, generation: 0, task: None }
    }

    /// Ends the partition's task and makes what it has fetched out of date.
    fn stop(&mut self) {
        self.generation += 1;
        self.task = None;
    }
}
