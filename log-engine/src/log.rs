//! An open log: appends, votes, truncations and reads. None waits for the disk, but a truncation to an entry that is no
//! longer in memory, which reads the headers near its place.

mod reads;
mod segments;

pub use reads::{ReadPlan, ReadStart};
pub use segments::SegmentInfo;

use std::{ops::RangeInclusive, path::Path, sync::Arc};

use bytes::{Bytes, BytesMut};

use crate::{
    Completion, Frame, Hole, IndexFile, LogEngine, LogFailure, LogStart, OpenError, Opened, Recovery,
    SEGMENT_HEADER_SIZE, ScrubReport, Vfs, Vote,
    format::BATCH_FRAME_SIZE_MIN,
    recover, scrub,
    segment_file::SegmentFile,
    shared::Shared,
    state::{Begun, Segment, State},
    write::{Job, MaintenanceJob, Mark, Roll, WriteJob, WriterHandle, checkpoint_state},
};

#[cfg(feature = "planted-bugs")]
fn unless_told_early(done: Completion) -> Completion {
    if !quorate_planted_bugs::PlantedBug::VoteBeforeSync.is_planted() {
        return done;
    }
    done(Ok(()));
    Box::new(|_| ())
}

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The replica the log belongs to; a log of another one is refused.
    pub replica: u64,
    /// Whose replica that is: the id of its cluster. A log of another one is refused.
    pub owner: u128,
    /// A segment is closed before it grows beyond this many bytes.
    pub segment_bytes: u64,
    /// The longest payload of a frame.
    pub payload_bytes_max: u64,
    /// Whether the log was created before: then its absence is a loss and not a beginning.
    pub must_exist: bool,
    /// A log index known to be on stable storage and never to be truncated away again (of Raft: committed). The log must
    /// reach it, and no checkpoint beyond it is used.
    pub settled_through: Option<u64>,
}

/// An open log. Dropping it leaves queued writes to the writer threads, and ends all other work on its files.
pub struct Log {
    shared: Arc<Shared>,
    writer: WriterHandle,
    /// Its threads serve the log as long as it is open.
    _engine: Arc<LogEngine>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Log").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Log {
    pub(crate) fn new(shared: Arc<Shared>, engine: Arc<LogEngine>) -> Self {
        engine.logs().add(&shared);
        Self { shared, writer: engine.writers().assign(), _engine: engine }
    }

    /// Opens or creates the log in `directory`. Blocks; `recovery` is told what the log holds.
    ///
    /// # Errors
    /// See [`OpenError`]. Whatever the error, nothing of the log was changed, unless the file system failed.
    pub fn open(
        engine: &Arc<LogEngine>,
        vfs: Arc<dyn Vfs>,
        directory: &Path,
        options: &LogOptions,
        recovery: &mut dyn Recovery,
    ) -> Result<Opened, OpenError> {
        recover::open(engine, vfs, directory, options, recovery)
    }

    /// One past the last log index.
    #[must_use]
    pub fn next_index(&self) -> u64 {
        self.shared.lock().next_index
    }

    /// The partition's end offset after the last entry.
    #[must_use]
    pub fn end_offset(&self) -> u64 {
        self.shared.lock().end_offset
    }

    /// The greatest log index on stable storage.
    #[must_use]
    pub fn durable_through(&self) -> Option<u64> {
        self.shared.lock().durable.through
    }

    /// Where the log starts: nothing before it is kept.
    #[must_use]
    pub fn start(&self) -> LogStart {
        self.shared.lock().start
    }

    /// What is known to be damaged, in the order it was found.
    #[must_use]
    pub fn holes(&self) -> Vec<Hole> {
        self.shared.holes().clone()
    }

    /// The term of the entry of this log index, if the log has it; also of the last one that was trimmed away.
    #[must_use]
    pub fn term_of(&self, index: u64) -> Option<u64> {
        self.shared.lock().term_of(index)
    }

    /// The last vote saved, whether it is on stable storage yet or not.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        self.shared.lock().vote
    }

    /// The failure that poisoned the log, if any.
    #[must_use]
    pub fn failure(&self) -> Option<LogFailure> {
        self.shared.failure().cloned()
    }

    /// The first entry, each term's first entry and the last entry within the range, as (term, index).
    #[must_use]
    pub fn term_starts(&self, range: RangeInclusive<u64>) -> Vec<(u64, u64)> {
        let state = self.shared.lock();
        let (first, last) = range.into_inner();
        let mut starts: Vec<(u64, u64)> = Vec::new();
        starts.extend(state.term_of(first).map(|term| (term, first)));
        starts.extend(
            state.terms.iter().filter(|start| start.index > first && start.index < last).map(|s| (s.term, s.index)),
        );
        starts.extend(state.term_of(last).filter(|_| last > first).map(|term| (term, last)));
        starts
    }

    /// Appends entries, dense in log index from [`Log::next_index`] on. They can be read at once; `done` is told when
    /// they are on stable storage.
    ///
    /// Returns the first log indexes of the segments that began: the caller may give each a checkpoint.
    pub fn append(&self, frames: Vec<Frame>, done: Completion) -> Vec<u64> {
        let mut state = self.shared.lock();
        if let Some(failure) = self.shared.failure() {
            // The caller may ask the log again.
            drop(state);
            done(Err(failure.clone()));
            return Vec::new();
        }
        let mut begun = Vec::new();
        let mut heads = BytesMut::with_capacity(frames.len() * BATCH_FRAME_SIZE_MIN);
        let mut parts = Vec::with_capacity(frames.len() * 2);
        let mut position = state.active().extent.end;
        for frame in frames {
            let end = state.active().extent.end;
            if end > SEGMENT_HEADER_SIZE as u64 && end + frame.disk_size() > self.shared.segment_bytes {
                self.write(&state, position, std::mem::take(&mut parts), None);
                begun.push(self.roll(&mut state, Vec::new()));
                position = state.active().extent.end;
            }
            state.push(frame, &mut heads, &mut parts);
        }
        self.write(&state, position, parts, Some(done));
        if !state.next_prepared && state.active().extent.end >= self.shared.segment_bytes / 2 {
            state.next_prepared = true;
            let (log, number) = (self.shared.clone(), state.next_number);
            self.shared.maintenance.push(MaintenanceJob::Prepare { log, number });
        }
        state.check();
        begun
    }

    /// Saves a vote, in order with the appends; `done` is told when it is on stable storage.
    pub fn save_vote(&self, vote: Vote, done: Completion) {
        #[cfg(feature = "planted-bugs")]
        let done = unless_told_early(done);
        let mut state = self.shared.lock();
        if let Some(failure) = self.shared.failure() {
            // The caller may ask the log again.
            drop(state);
            return done(Err(failure.clone()));
        }
        state.vote = Some(vote);
        state.unmarked = true;
        let position = state.active().extent.end;
        let bytes = state.push_vote();
        self.write(&state, position, vec![bytes], Some(done));
    }

    /// If the log has been idle since its last write was synced, writes down that it was, so that later damage is
    /// told from a torn tail. Meant to be called about once a second.
    pub fn mark_if_idle(&self) {
        let mut state = self.shared.lock();
        let (number, end) = (state.active().extent.number, state.active().extent.end);
        let synced = state.durable.segment == number && state.durable.position == end;
        if state.unmarked && synced && state.vote.is_some() && self.shared.failure().is_none() {
            state.unmarked = false;
            let bytes = state.push_vote();
            self.write(&state, end, vec![bytes], None);
        }
    }

    /// Keeps the caller's state before the entry of log index `base_index`, at which a segment has just begun: a later
    /// recovery may begin there. Does nothing if that segment is gone again. In the background; it may come to nothing,
    /// and then a recovery begins at an older checkpoint.
    pub fn checkpoint(&self, base_index: u64, state: Bytes) {
        if let Some(checkpoint) = self.shared.lock().checkpoint(base_index, state) {
            self.shared.maintenance.push(MaintenanceJob::Checkpoint { log: self.shared.clone(), checkpoint });
        }
    }

    /// The newest checkpoint at or before `next_index` that is on stable storage: the log index of the first entry it
    /// does not hold, and the state. Blocks.
    #[must_use]
    pub fn last_checkpoint(&self, next_index: u64) -> Option<(u64, Bytes)> {
        let mut candidates: Vec<Segment> = self.shared.lock().segments.clone();
        candidates.retain(|segment| segment.checkpointed && segment.extent.base_index <= next_index);
        let read =
            |segment: &Segment| Some((segment.extent.base_index, checkpoint_state(&self.shared, &segment.extent)?));
        candidates.iter().rev().find_map(read)
    }

    /// Forgets all entries after `last` (all entries, if `None`). Later appends go on from there. Returns the first log
    /// index of the segment that began, if anything was forgotten.
    ///
    /// The bytes stay where they are: a new segment begins whose header names the end of its predecessor, the vote and
    /// the start of the log, so that no moment exists at which a crash could lose them.
    ///
    /// # Errors
    /// Fails when the place of `last` had to be looked up on disk and could not be read; the log is then poisoned.
    ///
    /// # Panics
    /// If `last` lies before the start of the log.
    pub fn truncate_after(&self, last: Option<u64>) -> Result<Option<u64>, LogFailure> {
        let mut state = self.shared.lock();
        if let Some(failure) = self.shared.failure() {
            return Err(failure.clone());
        }
        let from = last.map_or(0, |last| last + 1);
        if from >= state.next_index {
            return Ok(None);
        }
        assert!(from >= state.start.index, "what was trimmed away is not truncated");
        let keep = state.segments.partition_point(|segment| segment.extent.base_index < from).max(1);
        // The tail may still hold what was trimmed away.
        let first = state.segments[keep - 1].extent.base_index;
        let (end, offset) = match last.filter(|last| *last >= first).and_then(|last| state.tail.get(last)) {
            Some((frame, end)) => (*end, frame.next_offset),
            None => self
                .end_before(&state, keep - 1, from)
                .map_err(|error| self.shared.poison(&error.to_string(), false))?,
        };
        let dropped = state.truncate_from(from, keep, end, offset);
        self.shared.forget_holes_from(from);
        let base_index = self.roll(&mut state, dropped);
        state.check();
        Ok(Some(base_index))
    }

    /// Forgets the entries before `start.index`, which lies within the log or is its end. `done` is told when that is on
    /// stable storage; only then files go, in the background: those of whole segments that no recovery needs. Does
    /// nothing if the log starts there or later already.
    ///
    /// # Panics
    /// If `start` lies beyond the end of the log or names another term than the log.
    pub fn trim_prefix(&self, start: LogStart, done: Completion) {
        let mut state = self.shared.lock();
        if let Some(failure) = self.shared.failure() {
            drop(state);
            return done(Err(failure.clone()));
        }
        if start.index <= state.start.index {
            drop(state);
            return done(Ok(()));
        }
        assert!(start.index <= state.next_index, "a trim stays within the log");
        assert_eq!(
            state.term_of(start.index - 1),
            Some(start.term),
            "a trim names the term of the last entry it forgets"
        );
        state.trim(start.index, start.offset);
        self.shared.holes().retain(|hole| !hole.lies_before(start.index));
        let position = state.active().extent.end;
        let bytes = state.push_start();
        state.unmarked = true;
        let log = self.shared.clone();
        let then_remove: Completion = Box::new(move |result| {
            if result.is_ok() {
                let mut state = log.lock();
                // A restart may have moved the start back meanwhile.
                state.durable_start = state.durable_start.max(start.index).min(state.start.index);
                drop(state);
                log.maintenance.push(MaintenanceJob::Trim { log: log.clone() });
            }
            done(result);
        });
        self.write(&state, position, vec![bytes], Some(then_remove));
        state.check();
    }

    /// Forgets everything and goes on at `start`, with the caller's `state` before it: the log of a replica that has
    /// taken a snapshot. `done` is told when that is on stable storage; until then a crash may bring the old log back.
    /// The vote stays.
    pub fn restart_at(&self, start: LogStart, state: Bytes, done: Completion) {
        let mut log_state = self.shared.lock();
        if let Some(failure) = self.shared.failure() {
            drop(log_state);
            return done(Err(failure.clone()));
        }
        let dropped = log_state.segments.iter().map(|segment| segment.file.clone()).collect();
        let Begun { file, header, base_index } = log_state.restart(start);
        self.shared.holes().clear();
        let checkpoint = log_state.checkpoint(base_index, state);
        let (log, mark) = (self.shared.clone(), Self::mark(&log_state));
        let roll = Roll { log, file, header, mark, finished: Vec::new(), dropped, index: None, checkpoint };
        self.writer.push(Job::Roll(Box::new(roll)));
        let position = log_state.active().extent.end;
        self.write(&log_state, position, Vec::new(), Some(done));
        log_state.check();
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn remove_trimmed(&self) {
        self.shared.maintenance.push(MaintenanceJob::Trim { log: self.shared.clone() });
    }

    /// Rereads all finished segments at full speed and reports what is damaged: also to [`Log::holes`]. Blocks.
    #[must_use]
    pub fn scrub(&self) -> ScrubReport {
        scrub::scrub(&self.shared, &mut |_| true).unwrap_or_default()
    }

    /// Calls `done` once all writes queued so far are done.
    pub fn barrier(&self, done: impl FnOnce() + Send + 'static) {
        self.writer.push(Job::Barrier(Box::new(done)));
    }

    fn mark(state: &State) -> Mark {
        Mark { generation: state.generation, through: state.next_index.checked_sub(1) }
    }

    fn write(&self, state: &State, position: u64, parts: Vec<Bytes>, done: Option<Completion>) {
        if parts.is_empty() && done.is_none() {
            return;
        }
        let (log, file, mark) = (self.shared.clone(), state.active().file.clone(), Self::mark(state));
        self.writer.push(Job::Write(WriteJob { log, file, position, parts, mark, done }));
    }

    /// Begins a segment behind the end of the log; `dropped` are those that a truncation took off the chain. Returns its
    /// first log index.
    fn roll(&self, state: &mut State, dropped: Vec<Arc<SegmentFile>>) -> u64 {
        let sealed = state.active().clone();
        // The index in memory is that of the segment which was active, and a truncation may have dropped that.
        let index = dropped.is_empty().then(|| IndexFile {
            segment: sealed.extent.number,
            segment_checksum: sealed.extent.head_checksum,
            index: std::mem::take(&mut state.index),
        });
        let Begun { file, header, base_index } = state.roll();
        let (log, mark, finished) = (self.shared.clone(), Self::mark(state), vec![sealed.file]);
        let roll = Roll { log, file, header, mark, finished, dropped, index, checkpoint: None };
        self.writer.push(Job::Roll(Box::new(roll)));
        base_index
    }
}
