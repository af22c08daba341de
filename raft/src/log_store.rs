//! openraft's log storage over the segment log. Nothing here waits for the disk but `save_vote`, as Raft demands.
//!
//! Where an append or a truncation has begun a segment, the replica's state before it is kept in a checkpoint: so an open
//! reads the log from there on only.

use std::{
    fmt, io,
    ops::{Bound, RangeBounds, RangeInclusive},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, TryStreamExt, stream};
use openraft::{
    EntryPayload, LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
    vote::RaftLeaderId,
};
use quorate_cluster_config::ReplicaId;
use quorate_log_engine::{Frame, Log, LogFailure, ReadPlan, ReadStart};
use tokio::sync::{oneshot, watch};

use crate::{
    checkpoint::Checkpoint,
    codec,
    memberships::Memberships,
    open::OpenedLog,
    partition::PartitionMachine,
    types::{Entry, LogId, StoredMembership, TypeConfig, Vote, log_id},
};

/// Bytes of entries read for one AppendEntries request or one step of applying.
const READ_BYTES_MAX: usize = 1 << 20;

/// The log of one replica as Raft, the state machine and readers share it.
#[derive(Clone, Debug)]
pub(crate) struct LogStore(Arc<Shared>);

/// Locks are taken in this order, if at all: the partition's tracker, one of those here, the log's own.
#[derive(Debug)]
struct Shared {
    log: Log,
    /// Decides outcomes at append; only in partition groups.
    partition: Option<Arc<PartitionMachine>>,
    /// The first log index that was read at the open.
    scanned_from: u64,
    committed: Mutex<Option<LogId>>,
    memberships: Mutex<Memberships>,
    /// How often the log was truncated: a state taken before says nothing of what came instead.
    truncations: Mutex<u64>,
    durable_end: watch::Sender<DurableEnd>,
}

/// One past the greatest log index on stable storage, or why there will be no more.
pub(crate) type DurableEnd = Result<u64, LogFailure>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under the lock is a broken invariant, and the group is on its way down.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Tells how far the log is durable. Asked for under the watch's lock, so that a sync and a truncation that race
    /// never leave the older answer behind.
    fn send_durable_end(&self) {
        self.durable_end.send_modify(|end| *end = durable_end(&self.log));
    }

    /// Hands a checkpoint to the log, unless the log was truncated since it was taken: then another segment may begin at
    /// the same index, behind other entries.
    fn keep(&self, base_index: u64, checkpoint: &Checkpoint, truncations: u64) {
        let state = checkpoint.encode();
        let now = lock(&self.truncations);
        if *now == truncations {
            self.log.checkpoint(base_index, state);
        }
    }
}

fn durable_end(log: &Log) -> DurableEnd {
    match log.failure() {
        Some(failure) => Err(failure),
        None => Ok(log.durable_through().map_or(0, |through| through + 1)),
    }
}

impl LogStore {
    pub(crate) fn new(opened: OpenedLog, partition: Option<Arc<PartitionMachine>>) -> Self {
        let OpenedLog { log, committed, scanned_from, mut memberships } = opened;
        memberships.settle(committed);
        Self(Arc::new(Shared {
            durable_end: watch::Sender::new(durable_end(&log)),
            log,
            partition,
            scanned_from,
            committed: Mutex::new(committed),
            memberships: Mutex::new(memberships),
            truncations: Mutex::new(0),
        }))
    }

    pub(crate) fn log(&self) -> &Log {
        &self.0.log
    }

    pub(crate) fn scanned_from(&self) -> u64 {
        self.0.scanned_from
    }

    /// The greatest log id known to be committed.
    pub(crate) fn committed(&self) -> Option<LogId> {
        *lock(&self.0.committed)
    }

    pub(crate) fn durable_end(&self) -> watch::Receiver<DurableEnd> {
        self.0.durable_end.subscribe()
    }

    /// The greatest log id that is both committed and on this replica's stable storage: what may be written down
    /// elsewhere as committed.
    pub(crate) fn durable_committed(&self) -> Option<LogId> {
        let index = self.committed()?.index.min(self.0.log.durable_through()?);
        Some(log_id(self.0.log.term_of(index)?, index))
    }

    /// What of the log cannot be read any more, if anything.
    pub(crate) fn damage(&self) -> Option<String> {
        let mut holes = self.0.log.holes();
        holes.retain(|hole| !hole.indexes.is_empty());
        match &holes[..] {
            [] => None,
            [hole] => Some(hole.to_string()),
            [first, others @ ..] => Some(format!("{first}; and {} more", others.len())),
        }
    }

    fn last_log_id(&self) -> Option<LogId> {
        let last = self.0.log.next_index().checked_sub(1)?;
        Some(log_id(self.0.log.term_of(last)?, last))
    }

    async fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let frames = match self.0.log.plan_read(ReadStart::Index(start), end, bytes_max) {
            ReadPlan::Ready(frames) => frames,
            ReadPlan::Cold(read) => tokio::task::spawn_blocking(move || read.run()).await??,
        };
        frames.into_iter().map(|frame| codec::entry_of(frame).map_err(io::Error::other)).collect()
    }

    /// Turns entries into frames, deciding the outcome of each batch on the way.
    fn frames(&self, entries: impl IntoIterator<Item = Entry>) -> io::Result<Vec<Frame>> {
        let mut tracker = self.0.partition.as_ref().map(|partition| partition.tracker());
        let decide = |entry: Entry| {
            if let EntryPayload::Membership(membership) = &entry.payload {
                let mut memberships = lock(&self.0.memberships);
                memberships.settle(*lock(&self.0.committed));
                memberships.push(StoredMembership::new(Some(entry.log_id), membership.clone()));
            }
            let mut frame = codec::frame_of(&entry);
            if let Some(tracker) = &mut tracker {
                tracker.append(&mut frame).map_err(io::Error::other)?;
            }
            Ok(frame)
        };
        entries.into_iter().map(decide).collect()
    }

    /// Keeps the replica's state before the first entry of a segment that has just begun.
    ///
    /// The state is taken here, while nothing else can have been appended, truncated or applied: Raft asks for one thing
    /// at a time. What takes long, to encode up to ten thousand producers, is done elsewhere.
    fn checkpoint(&self, base_index: u64) {
        let membership = lock(&self.0.memberships).before(base_index);
        let checkpoint = Checkpoint {
            membership,
            partition: self.0.partition.as_ref().map(|partition| partition.tracker().state_before(base_index)),
        };
        let (shared, truncations) = (self.0.clone(), *lock(&self.0.truncations));
        tokio::task::spawn_blocking(move || shared.keep(base_index, &checkpoint, truncations));
    }
}

/// A range of log indexes as its first and one past its last.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(index) => index + 1,
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, io::Error> {
        let (start, end) = bounds(&range);
        let end = end.min(self.0.log.next_index());
        let mut entries: Vec<Entry> = Vec::new();
        // The contract forbids to stop early; each step is bounded by the cold read, not by the range.
        while start + (entries.len() as u64) < end {
            let more = self.read(start + entries.len() as u64, end, usize::MAX >> 1).await?;
            if more.is_empty() {
                return Err(io::Error::other(format!("the log has no entry at {}", start + entries.len() as u64)));
            }
            entries.extend(more);
        }
        Ok(entries)
    }

    /// Entries to be applied, in steps: after a restart the range may be as long as the log.
    async fn entries_stream<R: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend {
        let (start, end) = bounds(&range);
        let steps = stream::try_unfold((self.clone(), start), move |(log, start)| async move {
            if start >= end {
                return Ok(None);
            }
            let entries = log.read(start, end, READ_BYTES_MAX).await?;
            let next = start + entries.len() as u64;
            // The range ends early only where the log does.
            Ok::<_, io::Error>((next > start).then(|| (stream::iter(entries.into_iter().map(Ok)), (log, next))))
        });
        Box::pin(steps.try_flatten())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, READ_BYTES_MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let vote = self.0.log.vote();
        Ok(vote.map(|vote| Vote {
            leader_id: RaftLeaderId::new(vote.term, ReplicaId(vote.voted_for)),
            committed: vote.committed,
        }))
    }

    /// The last log id of each term. The documentation of openraft 0.10.0-alpha.37 asks for the first of each, but its
    /// own implementation gives the last, and so its list is read: with the first ones a leader believes entries to be of
    /// a later term than they are, and its followers refuse them for ever.
    async fn get_key_log_ids(&mut self, range: RangeInclusive<LogId>) -> Result<Vec<LogId>, io::Error> {
        let starts = self.0.log.term_starts(range.start().index..=range.end().index);
        let ends = starts.windows(2).filter(|pair| pair[0].0 != pair[1].0).map(|pair| (pair[0].0, pair[1].1 - 1));
        Ok(ends.chain(starts.last().copied()).map(|(term, index)| log_id(term, index)).collect())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        Ok(LogState { last_purged_log_id: None, last_log_id: self.last_log_id() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, saved) = oneshot::channel();
        let vote = quorate_log_engine::Vote {
            term: vote.leader_id.term,
            voted_for: vote.leader_id.voted_for.0,
            committed: vote.committed,
        };
        self.0.log.save_vote(vote, Box::new(move |result| drop(done.send(result))));
        saved.await.map_err(io::Error::other)?.map_err(io::Error::from)
    }

    /// In memory only: see [`LogStore::durable_committed`].
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        *lock(&self.0.committed) = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.committed())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let frames = self.frames(entries)?;
        let shared = self.0.clone();
        let done = move |result: Result<(), _>| {
            shared.send_durable_end();
            callback.io_completed(result.map_err(io::Error::from));
        };
        self.0.log.append(frames, Box::new(done)).into_iter().for_each(|base_index| self.checkpoint(base_index));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let last = last.map(|id| id.index);
        let from = last.map_or(0, |last| last + 1);
        if let Some(partition) = &self.0.partition {
            partition.tracker().truncate_from(from);
        }
        lock(&self.0.memberships).truncate_from(from);
        *lock(&self.0.truncations) += 1;
        let begun = self.0.log.truncate_after(last)?;
        self.0.send_durable_end();
        begun.into_iter().for_each(|base_index| self.checkpoint(base_index));
        Ok(())
    }

    /// Never asked for: there are no snapshots, so openraft has nothing to purge.
    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("logs are kept whole; refused to purge to {log_id}")))
    }
}

#[cfg(test)]
mod tests;
