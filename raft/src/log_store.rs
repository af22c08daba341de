//! openraft's log storage over the segment log. Nothing here waits for the disk but `save_vote`, as Raft demands.
//!
//! Where an append or a truncation has begun a segment, the replica's state before it is kept in a checkpoint: so an open
//! reads the log from there on only.

mod range;

use std::{
    fmt, io,
    ops::{RangeBounds, RangeInclusive},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, TryStreamExt, stream};
use openraft::{
    EntryPayload, LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
    vote::RaftLeaderId,
};
use quorate_cluster_config::ReplicaId;
use quorate_log_engine::{FRAME_HEADER_SIZE, Frame, Log, LogFailure, LogStart, ReadPlan, ReadStart, SegmentInfo};
use tokio::sync::{oneshot, watch};

use crate::{
    catch_up::CatchUp,
    checkpoint::{Checkpoint, GroupState},
    codec,
    memberships::Memberships,
    open::OpenedLog,
    partition::PartitionMachine,
    snapshots::{Snapshot, Snapshots},
    types::{Claim, Entry, LogId, StoredMembership, TypeConfig, Vote, log_id},
};
use range::bounds;

/// Bytes of entries read for one AppendEntries request or one step of applying.
const READ_BYTES_MAX: usize = 1 << 20;
/// How often a read is planned again because its file went meanwhile: by a trim, a truncation or a repair.
pub(crate) const OUTDATED_READS_MAX: usize = 8;

/// The log of one replica as Raft, the state machine and readers share it.
///
/// With it, where the last entries end that were read through this clone to be sent to another replica.
#[derive(Clone, Debug)]
pub(crate) struct LogStore(Arc<Shared>, Option<u64>);

/// Locks are taken in this order, if at all: `order`, the partition's tracker, one of the others here, the log's own.
#[derive(Debug)]
struct Shared {
    log: Log,
    /// Held while tracker and log change together: Raft does one thing at a time, but segments are also sealed when it
    /// does not ask for it.
    order: Mutex<()>,
    /// Decides outcomes at append; only in partition groups.
    partition: Option<Arc<PartitionMachine>>,
    /// The first log index that was read at the open.
    scanned_from: u64,
    committed: Mutex<Option<LogId>>,
    memberships: Mutex<Memberships>,
    /// How often the log was truncated: a state taken before says nothing of what came instead.
    truncations: Mutex<u64>,
    snapshots: Snapshots,
    catch_up: CatchUp,
    durable_end: watch::Sender<DurableEnd>,
}

/// What is told when entries are on stable storage.
pub(crate) type Forced = oneshot::Receiver<Result<(), LogFailure>>;

/// One past the greatest log index on stable storage, or why there will be no more.
pub(crate) type DurableEnd = Result<u64, LogFailure>;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
    /// `catch_up` bounds how fast old entries are read for replicas that lag.
    pub(crate) fn new(opened: OpenedLog, partition: Option<Arc<PartitionMachine>>, catch_up: CatchUp) -> Self {
        let OpenedLog { log, committed, scanned_from, mut memberships, snapshots } = opened;
        memberships.settle(committed);
        let shared = Arc::new(Shared {
            durable_end: watch::Sender::new(durable_end(&log)),
            log,
            order: Mutex::new(()),
            partition,
            scanned_from,
            committed: Mutex::new(committed),
            memberships: Mutex::new(memberships),
            truncations: Mutex::new(0),
            snapshots,
            catch_up,
        });
        Self(shared, None)
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

    /// Begins a new segment, with a checkpoint.
    pub(crate) fn seal(&self) {
        let _order = lock(&self.0.order);
        if let Some(base_index) = self.0.log.seal() {
            self.checkpoint(base_index);
        }
    }

    pub(crate) fn snapshots(&self) -> &Snapshots {
        &self.0.snapshots
    }

    /// Whether the log has exactly this entry, or had it last before it was trimmed.
    pub(crate) fn holds(&self, id: LogId) -> bool {
        self.0.log.term_of(id.index) == Some(id.leader_id.term)
    }

    /// Whether the entry of this log index is old: not in memory any more.
    pub(crate) fn is_old(&self, index: u64) -> bool {
        matches!(self.0.log.plan_read(ReadStart::Index(index), index + 1, 0), ReadPlan::Cold(_))
    }

    /// Forgets the whole log and goes on behind `last` with the state of a snapshot. Answered when that is on stable
    /// storage; until then a crash brings the old log back.
    pub(crate) fn restart_behind(
        &self,
        last: LogId,
        state: &GroupState,
        snapshot: &Snapshot,
    ) -> io::Result<oneshot::Receiver<io::Result<()>>> {
        if self.0.log.next_index() > last.index + 1 {
            // Raft has truncated what contradicts the snapshot.
            return Err(io::Error::other(format!("the log contradicts the snapshot that ends at {last}")));
        }
        let (done, durable) = oneshot::channel();
        let offset = match state {
            GroupState::Partition(state) => state.end_offset(),
            GroupState::Metadata(_) | GroupState::Elsewhere => 0,
        };
        let start = LogStart { index: last.index + 1, term: last.leader_id.term, offset };
        let shared = self.0.clone();
        let done = move |result: Result<(), LogFailure>| {
            shared.send_durable_end();
            drop(done.send(result.map_err(io::Error::from)));
        };
        let _order = lock(&self.0.order);
        let restart_log = || {
            *lock(&self.0.truncations) += 1;
            *lock(&self.0.memberships) = Memberships::from(snapshot.meta.last_membership.clone());
            let mut committed = lock(&self.0.committed);
            *committed = (*committed).max(Some(last));
            self.0.log.restart_at(start, snapshot.snapshot.clone(), Box::new(done));
        };
        match (&self.0.partition, state) {
            (Some(partition), GroupState::Partition(state)) => partition.restart(last.index, state, restart_log),
            _ => restart_log(),
        }
        Ok(durable)
    }

    /// The last membership in the log, committed or not.
    pub(crate) fn last_membership(&self) -> StoredMembership {
        lock(&self.0.memberships).before(u64::MAX)
    }

    pub(crate) fn last_log_id(&self) -> Option<LogId> {
        let last = self.0.log.next_index().checked_sub(1)?;
        Some(log_id(self.0.log.term_of(last)?, last))
    }

    /// Entries from `start` on, and whether the disk was read for them.
    async fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<(Vec<Entry>, bool)> {
        let mut tries = 0;
        loop {
            let (frames, cold) = match self.0.log.plan_read(ReadStart::Index(start), end, bytes_max) {
                ReadPlan::Ready(frames) => (frames, false),
                ReadPlan::Cold(read) => match tokio::task::spawn_blocking(move || read.run()).await? {
                    Ok(frames) => (frames, true),
                    // The file went between the plan and the read.
                    Err(error) if error.is_outdated() && tries < OUTDATED_READS_MAX => {
                        tries += 1;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                },
            };
            if let Some(first) = frames.first().filter(|first| first.index != start) {
                let reason = format!("entry {start} was asked for, and the log begins at {}", first.index);
                return Err(io::Error::other(reason));
            }
            let entries: io::Result<Vec<Entry>> =
                frames.into_iter().map(|frame| codec::entry_of(frame).map_err(io::Error::other)).collect();
            return Ok((entries?, cold));
        }
    }

    /// Turns entries into frames, deciding the outcome of each batch on the way.
    ///
    /// `claims` are those of the entries, to be held until they are on stable storage.
    fn frames(&self, entries: impl IntoIterator<Item = Entry>, claims: &mut Vec<Claim>) -> io::Result<Vec<Frame>> {
        let mut tracker = self.0.partition.as_ref().map(|partition| partition.tracker());
        let decide = |entry: Entry| {
            if let EntryPayload::Membership(membership) = &entry.payload {
                let mut memberships = lock(&self.0.memberships);
                memberships.settle(*lock(&self.0.committed));
                memberships.push(StoredMembership::new(Some(entry.log_id), membership.clone()));
            }
            let mut frame = codec::frame_of(&entry);
            if let EntryPayload::Normal(proposal) = entry.payload {
                claims.extend(proposal.claim);
            }
            if let Some(tracker) = &mut tracker {
                tracker.append(&mut frame).map_err(io::Error::other)?;
            }
            Ok(frame)
        };
        entries.into_iter().map(decide).collect()
    }

    /// Appends entries and a vote, for a replica that Raft does not run; answered when they are on stable storage.
    pub(crate) fn force(&self, entries: Vec<Entry>, vote: quorate_log_engine::Vote) -> io::Result<Forced> {
        let (done, forced) = oneshot::channel();
        let _order = lock(&self.0.order);
        let frames = self.frames(entries, &mut Vec::new())?;
        self.0.log.save_vote(vote, Box::new(|_| ()));
        let done = Box::new(move |result| drop(done.send(result)));
        self.0.log.append(frames, done).into_iter().for_each(|base_index| self.checkpoint(base_index));
        Ok(forced)
    }

    /// Keeps the replica's state before the first entry of a segment that has just begun.
    ///
    /// The state is taken here, with `order` held: nothing has been appended or truncated since the segment began, and
    /// what was appended right behind it is undone. What takes long, to encode up to ten thousand producers, is done elsewhere.
    fn checkpoint(&self, base_index: u64) {
        let membership = lock(&self.0.memberships).before(base_index);
        let state = match &self.0.partition {
            Some(partition) => GroupState::Partition(partition.tracker().state_before(base_index)),
            None => GroupState::Elsewhere,
        };
        let checkpoint = Checkpoint { membership, state };
        let (shared, truncations) = (self.0.clone(), *lock(&self.0.truncations));
        tokio::task::spawn_blocking(move || shared.keep(base_index, &checkpoint, truncations));
    }
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
            let (more, _) = self.read(start + entries.len() as u64, end, READ_BYTES_MAX).await?;
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
            let (entries, _) = log.read(start, end, READ_BYTES_MAX).await?;
            let next = start + entries.len() as u64;
            // The range ends early only where the log does.
            Ok::<_, io::Error>((next > start).then(|| (stream::iter(entries.into_iter().map(Ok)), (log, next))))
        });
        Box::pin(steps.try_flatten())
    }

    /// Entries to be sent to another replica. Old ones are read no faster than replicas may catch up.
    ///
    /// A new leader looks for the place up to which another log is like its own, in the whole of the log and by halves, and each
    /// time entries go along. So where a read of old entries begins anew it gives one of them: nothing is committed before the
    /// place is found, and what is sent meanwhile is there already, as a rule.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        let is_old = self.is_old(start);
        let begins_anew = is_old && self.1 != Some(start);
        let end = if begins_anew { start + 1 } else { end };
        let bytes_max = if is_old { self.0.catch_up.step(READ_BYTES_MAX) } else { READ_BYTES_MAX };
        let (entries, cold) = self.read(start, end, bytes_max).await?;
        self.1 = Some(start + entries.len() as u64);
        if cold {
            let bytes = entries.iter().map(bytes_of).sum();
            match begins_anew {
                true => self.0.catch_up.owe(bytes),
                false => self.0.catch_up.spend(bytes).await,
            }
        }
        Ok(entries)
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
        let start = self.0.log.start();
        let last_purged_log_id = start.index.checked_sub(1).map(|last| log_id(start.term, last));
        Ok(LogState { last_purged_log_id, last_log_id: self.last_log_id() })
    }

    async fn get_log_reader(&mut self) -> Self {
        Self(self.0.clone(), None)
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
        let _order = lock(&self.0.order);
        let mut claims = Vec::new();
        let frames = self.frames(entries, &mut claims)?;
        let shared = self.0.clone();
        #[cfg(feature = "planted-bugs")]
        let callback = unless_told_early(callback);
        let done = move |result: Result<(), _>| {
            drop(claims);
            shared.send_durable_end();
            #[cfg(feature = "planted-bugs")]
            let Some(callback) = callback else { return };
            callback.io_completed(result.map_err(io::Error::from));
        };
        self.0.log.append(frames, Box::new(done)).into_iter().for_each(|base_index| self.checkpoint(base_index));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let _order = lock(&self.0.order);
        let last = last.map(|id| id.index);
        let from = last.map_or(0, |last| last + 1);
        if let Some(committed) = self.committed().filter(|committed| committed.index >= from) {
            let reason = format!("refused to truncate from {from} on: the entry at {committed} was committed");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
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

    /// Gives up the entries up to `last`, for which the current snapshot stands. The boundary moves at once; files go in
    /// the background, once it is durable.
    ///
    /// Only whole segments go: a recovery needs a checkpoint to begin at. If none begins behind `last`, as when a leader's
    /// snapshot met a log that goes beyond it, the log keeps what lies between.
    async fn purge(&mut self, last: LogId) -> Result<(), io::Error> {
        let log = &self.0.log;
        if log.next_index() <= last.index {
            let reason =
                format!("refused to purge to {last}, beyond the end of the log: no such snapshot is installed");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let segments = log.segments();
        let begins = |segment: &&SegmentInfo| segment.checkpointed && segment.base_index <= last.index + 1;
        let Some(segment) = segments.iter().rfind(begins).filter(|segment| segment.base_index > log.start().index)
        else {
            return Ok(());
        };
        let term = log.term_of(segment.base_index - 1).unwrap_or(0);
        let start = LogStart { index: segment.base_index, term, offset: segment.base_offset };
        // A failure is told by the log itself, which takes no further writes then.
        log.trim_prefix(start, Box::new(|_| ()));
        Ok(())
    }
}

#[cfg(feature = "planted-bugs")]
fn unless_told_early(callback: IOFlushed<TypeConfig>) -> Option<IOFlushed<TypeConfig>> {
    if !quorate_planted_bugs::PlantedBug::AckBeforeSync.is_planted() {
        return Some(callback);
    }
    callback.io_completed(Ok(()));
    None
}

/// About as many bytes as the entry takes on the wire.
fn bytes_of(entry: &Entry) -> u64 {
    match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.payload.len() as u64 + FRAME_HEADER_SIZE as u64,
        _ => FRAME_HEADER_SIZE as u64,
    }
}

#[cfg(test)]
mod tests;
