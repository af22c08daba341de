//! What every kind of consumer is made of: partitions that are fetched ahead, and the records that are ready.

use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use quorate_cluster_config::{PartitionId, TopicName, limits::REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX};
use quorate_protocol::ServeFrom;
use tokio::{
    sync::{Semaphore, mpsc},
    task::AbortHandle,
    time::timeout_at,
};

use super::{
    builder::FetchSettings,
    chunk::Chunk,
    fetch_task::{FetchTask, Fetched, divided_wait},
    handle::ConsumedRecord,
};
use crate::{client::Client, error::Error, routing::ReplicaChoice};

/// Fetches of one consumer that nodes may hold at once: other calls share the connections.
const FETCHES_IN_FLIGHT_MAX: usize = REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX / 2;
/// Chunks that wait to be polled, over all partitions; each partition has two at most.
const CHUNKS_READY_MAX: usize = 128;

/// Reads partitions of any topics, each in order and without gaps. After an error a partition stops; it is tried again with
/// the next call.
#[derive(Debug)]
pub(crate) struct Engine {
    client: Client,
    settings: FetchSettings,
    partitions: BTreeMap<PartitionId, Assigned>,
    /// Of the task started last: what another one of the same partition has fetched is out of date.
    generation: u64,
    in_flight: Arc<Semaphore>,
    sender: mpsc::Sender<Fetched>,
    fetched: mpsc::Receiver<Fetched>,
    /// Records that are decoded and not handed out, all of one partition.
    ready: std::vec::IntoIter<ConsumedRecord>,
}

/// From where, and up to where, a partition is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// The first offset wanted.
    pub(crate) offset: u64,
    /// It is the first there was: if that is gone meanwhile, the next one is the first.
    pub(crate) at_first: bool,
    /// The first offset not wanted any more.
    pub(crate) end: Option<u64>,
}

/// A partition that is read.
#[derive(Debug)]
struct Assigned {
    topic: Arc<TopicName>,
    /// The next offset to make ready.
    position: u64,
    at_first: bool,
    end: Option<u64>,
    paused: bool,
    generation: u64,
    task: Option<AbortOnDrop>,
}

impl Assigned {
    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Engine {
    pub(crate) fn new(client: Client, settings: FetchSettings) -> Self {
        let (sender, fetched) = mpsc::channel(CHUNKS_READY_MAX);
        let in_flight = Arc::new(Semaphore::new(FETCHES_IN_FLIGHT_MAX));
        let (partitions, ready) = (BTreeMap::new(), Vec::new().into_iter());
        Self { client, settings, partitions, generation: 0, in_flight, sender, fetched, ready }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.partitions.keys().copied()
    }

    pub(crate) fn reads(&self, partition: PartitionId) -> bool {
        self.partitions.contains_key(&partition)
    }

    /// Reads a partition from now on.
    pub(crate) fn add(&mut self, partition: PartitionId, topic: Arc<TopicName>, start: Start) {
        let Start { offset, at_first, end } = start;
        let added = Assigned { topic, position: offset, at_first, end, paused: false, generation: 0, task: None };
        self.discard_ready(partition);
        self.partitions.insert(partition, added);
    }

    /// Reads a partition no more; what is ready of it is dropped.
    pub(crate) fn remove(&mut self, partition: PartitionId) {
        self.discard_ready(partition);
        self.partitions.remove(&partition);
    }

    /// Goes on from another offset. `false` if the partition is not read.
    pub(crate) fn seek(&mut self, partition: PartitionId, offset: u64, at_first: bool) -> bool {
        self.discard_ready(partition);
        let Some(assigned) = self.partitions.get_mut(&partition) else { return false };
        (assigned.position, assigned.at_first, assigned.task) = (offset, at_first, None);
        true
    }

    /// Reads nothing of a partition until it is resumed. `false` if it is not read at all.
    pub(crate) fn set_paused(&mut self, partition: PartitionId, paused: bool) -> bool {
        self.discard_ready(partition);
        let Some(assigned) = self.partitions.get_mut(&partition) else { return false };
        assigned.paused = paused;
        if paused {
            assigned.task = None;
        }
        true
    }

    /// The next offset that is handed out.
    pub(crate) fn position(&self, partition: PartitionId) -> Option<u64> {
        let assigned = self.partitions.get(&partition)?;
        let first = self.ready.as_slice().first().filter(|record| record.id == partition);
        Some(first.map_or(assigned.position, |record| record.offset))
    }

    /// Whether all partitions are read up to their ends.
    pub(crate) fn is_done(&self) -> bool {
        self.ready.as_slice().is_empty() && self.partitions.values().all(Assigned::is_done)
    }

    /// What is ready of a partition will be fetched again.
    fn discard_ready(&mut self, partition: PartitionId) {
        let Some(first) = self.ready.as_slice().first().filter(|record| record.id == partition) else { return };
        let offset = first.offset;
        self.ready = Vec::new().into_iter();
        if let Some(assigned) = self.partitions.get_mut(&partition) {
            (assigned.position, assigned.task) = (offset, None);
        }
    }

    /// All records that are ready; else the next ones, or none at the deadline or once all is read.
    pub(crate) async fn next_records(&mut self, deadline: Instant) -> Result<Vec<ConsumedRecord>, Error> {
        self.make_some_ready(deadline).await?;
        Ok(std::mem::take(&mut self.ready).collect())
    }

    /// Returns once a record is ready, or at the deadline, or once all is read.
    pub(crate) async fn make_some_ready(&mut self, deadline: Instant) -> Result<(), Error> {
        while self.ready.as_slice().is_empty() {
            let Some((partition, chunk)) = self.next_chunk(deadline).await? else { break };
            self.make_ready(partition, chunk)?;
        }
        Ok(())
    }

    /// A record that is ready.
    pub(crate) fn take_ready(&mut self) -> Option<ConsumedRecord> {
        self.ready.next()
    }

    /// The next record; `None` once all is read.
    pub(crate) fn poll_record(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<ConsumedRecord, Error>>> {
        loop {
            if let Some(record) = self.ready.next() {
                return Poll::Ready(Some(Ok(record)));
            }
            if self.is_done() {
                return Poll::Ready(None);
            }
            let made_ready = match ready!(self.poll_chunk(context)) {
                Ok((partition, chunk)) => self.make_ready(partition, chunk),
                Err(error) => Err(error),
            };
            if let Err(error) = made_ready {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn make_ready(&mut self, partition: PartitionId, chunk: Chunk) -> Result<(), Error> {
        let Some(assigned) = self.partitions.get_mut(&partition) else { return Ok(()) };
        let mut decoded = chunk.decode(partition, &assigned.topic);
        assigned.position = decoded.next_offset;
        if let Some(end) = assigned.end
            && decoded.next_offset >= end
        {
            decoded.records.truncate(decoded.records.partition_point(|record| record.offset < end));
            assigned.task = None;
        }
        // The records before the damage come first; the next call meets the damage again.
        if let Some(error) = decoded.error {
            assigned.task = None;
            if decoded.records.is_empty() {
                return Err(error);
            }
        }
        self.ready = decoded.records.into_iter();
        Ok(())
    }

    /// The next chunk that is not out of date, or `None` at the deadline or once all is read.
    pub(super) async fn next_chunk(&mut self, deadline: Instant) -> Result<Option<(PartitionId, Chunk)>, Error> {
        if self.is_done() && !self.partitions.is_empty() {
            return Ok(None);
        }
        match timeout_at(deadline.into(), std::future::poll_fn(|context| self.poll_chunk(context))).await {
            Ok(chunk) => chunk.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// A further chunk, if one is there.
    pub(super) fn try_next_chunk(&mut self) -> Option<Result<(PartitionId, Chunk), Error>> {
        while let Ok(fetched) = self.fetched.try_recv() {
            if let Some(accepted) = self.accept(fetched) {
                return Some(accepted);
            }
        }
        None
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<(PartitionId, Chunk), Error>> {
        self.start_tasks();
        while let Some(fetched) = ready!(self.fetched.poll_recv(context)) {
            if let Some(accepted) = self.accept(fetched) {
                return Poll::Ready(accepted);
            }
        }
        // It has a sender itself.
        Poll::Pending
    }

    /// Goes on behind a chunk that is handed out as it is.
    pub(crate) fn hand_out(&mut self, partition: PartitionId, next_offset: Option<u64>) {
        if let Some(assigned) = self.partitions.get_mut(&partition) {
            match next_offset {
                Some(next_offset) => assigned.position = next_offset,
                None => assigned.task = None,
            }
        }
    }

    /// What a task fetched; `None` if it is out of date. After an error the partition has stopped.
    fn accept(&mut self, fetched: Fetched) -> Option<Result<(PartitionId, Chunk), Error>> {
        let assigned = self.partitions.get_mut(&fetched.partition)?;
        if fetched.generation != assigned.generation || assigned.task.is_none() {
            return None;
        }
        match &fetched.outcome {
            Err(_) => assigned.task = None,
            Ok(chunk) if chunk.is_empty() => {
                assigned.position = chunk.next_offset();
                return None;
            }
            Ok(_) => assigned.at_first = false,
        }
        Some(fetched.outcome.map(|chunk| (fetched.partition, chunk)))
    }

    /// Starts the tasks of the partitions that have none and need one.
    fn start_tasks(&mut self) {
        let count = self.partitions.len();
        for (partition, assigned) in &mut self.partitions {
            if assigned.task.is_some() || assigned.paused || assigned.is_done() {
                continue;
            }
            self.generation += 1;
            assigned.generation = self.generation;
            let mut settings = self.settings;
            settings.max_wait = divided_wait(settings.max_wait, count, FETCHES_IN_FLIGHT_MAX);
            let task = FetchTask {
                client: self.client.clone(),
                partition: *partition,
                generation: assigned.generation,
                offset: assigned.position,
                at_first: assigned.at_first,
                choice: match (settings.node, settings.serve_from) {
                    (Some(node), _) => Some(ReplicaChoice::only(node)),
                    (None, ServeFrom::AnyReplica) => Some(ReplicaChoice::new()),
                    (None, ServeFrom::Leader) => None,
                },
                settings,
                in_flight: Arc::clone(&self.in_flight),
                fetched: self.sender.clone(),
            };
            assigned.task = Some(AbortOnDrop(tokio::spawn(task.run()).abort_handle()));
        }
    }
}
