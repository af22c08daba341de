//! openraft's log storage over the segment log. Nothing here waits for the disk but `save_vote`, as Raft demands.

use std::{
    fmt, io,
    ops::{Bound, RangeBounds, RangeInclusive},
    sync::{Arc, Mutex, PoisonError},
};

use futures::{Stream, TryStreamExt, stream};
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
    vote::RaftLeaderId,
};
use quorate_cluster_config::ReplicaId;
use quorate_log_engine::{Frame, Log, LogFailure, ReadPlan, ReadStart};
use tokio::sync::{oneshot, watch};

use crate::{
    codec,
    partition::PartitionMachine,
    types::{Entry, LogId, TypeConfig, Vote, log_id},
};

/// Bytes of entries read for one AppendEntries request or one step of applying.
const READ_BYTES_MAX: usize = 1 << 20;

/// The log of one replica as Raft, the state machine and readers share it.
#[derive(Clone, Debug)]
pub(crate) struct LogStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    log: Log,
    /// Decides outcomes at append; only in partition groups.
    partition: Option<Arc<PartitionMachine>>,
    committed: Mutex<Option<LogId>>,
    durable_end: watch::Sender<DurableEnd>,
}

/// One past the greatest log index on stable storage, or why there will be no more.
pub(crate) type DurableEnd = Result<u64, LogFailure>;

impl Shared {
    /// Tells how far the log is durable. Asked for under the watch's lock, so that a sync and a truncation that race
    /// never leave the older answer behind.
    fn send_durable_end(&self) {
        self.durable_end.send_modify(|end| *end = durable_end(&self.log));
    }
}

fn durable_end(log: &Log) -> DurableEnd {
    match log.failure() {
        Some(failure) => Err(failure),
        None => Ok(log.durable_through().map_or(0, |through| through + 1)),
    }
}

impl LogStore {
    pub(crate) fn new(log: Log, partition: Option<Arc<PartitionMachine>>, committed: Option<LogId>) -> Self {
        let durable_end = watch::Sender::new(durable_end(&log));
        Self(Arc::new(Shared { log, partition, committed: Mutex::new(committed), durable_end }))
    }

    pub(crate) fn log(&self) -> &Log {
        &self.0.log
    }

    pub(crate) fn durable_end(&self) -> watch::Receiver<DurableEnd> {
        self.0.durable_end.subscribe()
    }

    /// The greatest log id that is both committed and on this replica's stable storage: what may be written down
    /// elsewhere as committed.
    pub(crate) fn durable_committed(&self) -> Option<LogId> {
        let committed = *self.0.committed.lock().unwrap_or_else(PoisonError::into_inner);
        let index = committed?.index.min(self.0.log.durable_through()?);
        Some(log_id(self.0.log.term_of(index)?, index))
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
        let Some(partition) = &self.0.partition else {
            return Ok(entries.into_iter().map(|entry| codec::frame_of(&entry)).collect());
        };
        let mut tracker = partition.tracker();
        let decide = |entry| {
            let mut frame = codec::frame_of(&entry);
            tracker.append(&mut frame).map_err(io::Error::other)?;
            Ok(frame)
        };
        entries.into_iter().map(decide).collect()
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

    async fn get_key_log_ids(&mut self, range: RangeInclusive<LogId>) -> Result<Vec<LogId>, io::Error> {
        let starts = self.0.log.term_starts(range.start().index..=range.end().index);
        Ok(starts.into_iter().map(|(term, index)| log_id(term, index)).collect())
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
        *self.0.committed.lock().unwrap_or_else(PoisonError::into_inner) = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(*self.0.committed.lock().unwrap_or_else(PoisonError::into_inner))
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
        self.0.log.append(frames, Box::new(done));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let last = last.map(|id| id.index);
        if let Some(partition) = &self.0.partition {
            partition.tracker().truncate_from(last.map_or(0, |last| last + 1));
        }
        self.0.log.truncate_after(last)?;
        self.0.send_durable_end();
        Ok(())
    }

    /// Never asked for: there are no snapshots, so openraft has nothing to purge.
    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("logs are kept whole; refused to purge to {log_id}")))
    }
}
