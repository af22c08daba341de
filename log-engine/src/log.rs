//! An open log: appends, votes, truncations and reads, none of which waits for the disk.

use std::{ops::RangeInclusive, path::Path, sync::Arc};

use bytes::BytesMut;

use crate::{
    ColdRead, Completion, Frame, LogFailure, LogWriters, OpenError, Opened, ReadError, SEGMENT_HEADER_SIZE, TailCache,
    Vfs, Vote,
    cache::FrameEnd,
    frame_header::BATCH_FRAME_SIZE_MIN,
    open,
    scan::RecoveredEntry,
    sparse::SPACING,
    state::{Segment, Shared, State},
    walk::{Stretch, Walk},
    writer::{Job, Mark, WriteJob, WriterHandle},
};

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The replica the log belongs to; a log of another one is refused.
    pub replica: u64,
    /// A segment is closed before it grows beyond this many bytes.
    pub segment_bytes: u64,
    /// The longest payload of a frame.
    pub payload_bytes_max: u64,
    /// Whether the log was created before: then its absence is a loss and not a beginning.
    pub must_exist: bool,
    /// A log index that is known to have been on stable storage.
    pub durable_through: Option<u64>,
}

/// Where a read starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadStart {
    /// At the entry of this log index.
    Index(u64),
    /// At the batch that holds this offset.
    Offset(u64),
}

/// How to get what was asked for.
#[derive(Debug)]
pub enum ReadPlan {
    /// It was in memory.
    Ready(Vec<Frame>),
    /// It must be read; [`ColdRead::run`] blocks.
    Cold(ColdRead),
}

/// An open log. Dropping it leaves queued writes to the writer threads.
pub struct Log {
    shared: Arc<Shared>,
    writer: WriterHandle,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Log").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Log {
    pub(crate) fn new(shared: Arc<Shared>, writer: WriterHandle) -> Self {
        Self { shared, writer }
    }

    /// Opens or creates the log in `directory`. Blocks; `visit` sees every entry in log order.
    ///
    /// # Errors
    /// See [`OpenError`]. Whatever the error, nothing of the log was changed.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        directory: &Path,
        options: &LogOptions,
        writers: &Arc<LogWriters>,
        cache: &TailCache,
        visit: &mut dyn FnMut(RecoveredEntry<'_>),
    ) -> Result<Opened, OpenError> {
        open::open(vfs, directory, options, writers, cache, visit)
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

    /// The term of the entry of this log index, if the log has it.
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
    pub fn append(&self, frames: Vec<Frame>, done: Completion) {
        let mut state = self.shared.lock();
        if let Some(failure) = self.shared.failure() {
            // The caller may ask the log again.
            drop(state);
            return done(Err(failure.clone()));
        }
        let mut heads = BytesMut::with_capacity(frames.len() * BATCH_FRAME_SIZE_MIN);
        let mut parts = Vec::with_capacity(frames.len() * 2);
        let mut position = state.active().end;
        for frame in frames {
            let end = state.active().end;
            if end > SEGMENT_HEADER_SIZE as u64 && end + frame.disk_size() > self.shared.segment_bytes {
                self.write(&mut state, position, std::mem::take(&mut parts), None);
                self.roll(&mut state);
                position = state.active().end;
            }
            state.push(frame, &mut heads, &mut parts);
        }
        self.write(&mut state, position, parts, Some(done));
        state.check();
    }

    /// Saves a vote, in order with the appends; `done` is told when it is on stable storage.
    pub fn save_vote(&self, vote: Vote, done: Completion) {
        let mut state = self.shared.lock();
        if let Some(failure) = self.shared.failure() {
            // The caller may ask the log again.
            drop(state);
            return done(Err(failure.clone()));
        }
        state.vote = Some(vote);
        state.unmarked = true;
        let position = state.active().end;
        let bytes = state.push_vote();
        self.write(&mut state, position, vec![bytes], Some(done));
    }

    /// If the log has been idle since its last write was synced, writes down that it was, so that later damage is
    /// told from a torn tail. Meant to be called about once a second.
    pub fn mark_if_idle(&self) {
        let mut state = self.shared.lock();
        let (number, end) = (state.active().file.number, state.active().end);
        let synced = state.durable.segment == number && state.durable.position == end;
        if state.unmarked && synced && state.vote.is_some() && self.shared.failure().is_none() {
            state.unmarked = false;
            let bytes = state.push_vote();
            self.write(&mut state, end, vec![bytes], None);
        }
    }

    /// Forgets all entries after `last` (all entries, if `None`). Later appends go on from there.
    ///
    /// The bytes stay where they are: a new segment begins whose header names the end of its predecessor and the vote, so that no moment exists at which a crash could lose it.
    ///
    /// # Errors
    /// Fails when the place of `last` had to be looked up on disk and could not be read; the log is then poisoned.
    pub fn truncate_after(&self, last: Option<u64>) -> Result<(), LogFailure> {
        let mut state = self.shared.lock();
        if let Some(failure) = self.shared.failure() {
            return Err(failure.clone());
        }
        let from = last.map_or(0, |last| last + 1);
        if from >= state.next_index {
            return Ok(());
        }
        let keep = state.segments.partition_point(|segment| segment.base_index < from).max(1);
        let (end, offset) = match last.and_then(|last| state.tail.get(last)) {
            Some((frame, end)) => (*end, frame.next_offset),
            None => end_before(&state.segments[keep - 1], from, self.shared.payload_bytes_max)
                .map_err(|error| self.shared.poison(&error.to_string()))?,
        };
        state.segments.truncate(keep);
        assert_eq!(end.segment, state.active().file.number, "the last entry kept is in the last segment kept");
        let active = state.active();
        (active.end, active.chain) = (end.position, end.chain);
        active.index.truncate_from(from);
        state.tail.truncate_from(from);
        state.next_index = from;
        state.end_offset = offset;
        let starts = state.terms.partition_point(|start| start.index < from);
        state.terms.truncate(starts);
        state.generation += 1;
        state.durable.through = state.durable.through.min(last);
        self.roll(&mut state);
        state.check();
        Ok(())
    }

    /// Finds entries from `start` on, below `end_index`, at most `bytes_max` bytes beyond the first. A cold read may
    /// return fewer than asked for, but at least one if there is one.
    #[must_use]
    pub fn plan_read(&self, start: ReadStart, end_index: u64, bytes_max: usize) -> ReadPlan {
        let state = self.shared.lock();
        let end_index = end_index.min(state.next_index);
        let first = match start {
            ReadStart::Index(index) => Some(index),
            ReadStart::Offset(offset) if offset >= state.end_offset => return ReadPlan::Ready(Vec::new()),
            ReadStart::Offset(offset) => state.tail.find_offset(offset),
        };
        if first.is_some_and(|first| first >= end_index) {
            return ReadPlan::Ready(Vec::new());
        }
        match first.filter(|first| state.tail.get(*first).is_some()) {
            Some(first) => {
                let mut bytes = 0;
                let frames = (first..end_index).map_while(|index| state.tail.get(index)).map(|(frame, _)| frame);
                let wanted = frames.take_while(|frame| {
                    let fits = bytes == 0 || bytes + frame.wire_size() <= bytes_max;
                    bytes += frame.wire_size();
                    fits
                });
                ReadPlan::Ready(wanted.cloned().collect())
            }
            None => ReadPlan::Cold(self.cold_read(&state, start, end_index, bytes_max)),
        }
    }

    /// Calls `done` once all writes queued so far are done.
    pub fn barrier(&self, done: impl FnOnce() + Send + 'static) {
        self.writer.push(Job::Barrier(Box::new(done)));
    }

    fn cold_read(&self, state: &State, start: ReadStart, end_index: u64, bytes_max: usize) -> ColdRead {
        let first = match start {
            ReadStart::Index(index) => state.segments.partition_point(|segment| segment.base_index <= index),
            ReadStart::Offset(offset) => state.segments.partition_point(|segment| segment.base_offset <= offset),
        };
        let mut stretches: Vec<Stretch> = Vec::new();
        for segment in &state.segments[first.saturating_sub(1)..] {
            let point = match start {
                _ if !stretches.is_empty() => None,
                ReadStart::Index(index) => segment.index.by_index(index),
                ReadStart::Offset(offset) => segment.index.by_offset(offset),
            };
            stretches.push(Stretch::new(segment, point));
        }
        let (from_index, behind_offset) = match start {
            ReadStart::Index(index) => (index, None),
            ReadStart::Offset(offset) => (0, Some(offset)),
        };
        ColdRead {
            stretches,
            from_index,
            behind_offset,
            end_index: state.tail.first().map_or(end_index, |first| first.min(end_index)),
            bytes_max,
            payload_bytes_max: self.shared.payload_bytes_max,
        }
    }

    fn write(&self, state: &mut State, position: u64, parts: Vec<bytes::Bytes>, done: Option<Completion>) {
        if parts.is_empty() && done.is_none() {
            return;
        }
        let mark = Mark { generation: state.generation, through: state.next_index.checked_sub(1) };
        let (log, file) = (self.shared.clone(), state.active().file.clone());
        self.writer.push(Job::Write(WriteJob { log, file, position, parts, mark, done }));
    }

    fn roll(&self, state: &mut State) {
        let (file, header) = state.roll();
        let mark = Mark { generation: state.generation, through: state.next_index.checked_sub(1) };
        self.writer.push(Job::Roll { log: self.shared.clone(), file, header, mark });
    }
}

/// Looks up on disk where the entries before `from` end in a segment, and the partition's end offset there. All of
/// them must be on stable storage; nothing behind them is read, since it may not be written yet.
fn end_before(segment: &Segment, from: u64, payload_bytes_max: u64) -> Result<(FrameEnd, u64), ReadError> {
    let mut end =
        FrameEnd { segment: segment.file.number, position: SEGMENT_HEADER_SIZE as u64, chain: segment.head_chain };
    let mut offset = segment.base_offset;
    let Some(last) = from.checked_sub(1).filter(|_| from > segment.base_index) else {
        return Ok((end, offset));
    };
    let stretch = Stretch::new(segment, segment.index.by_index(last));
    let mut walk = Walk::new(&stretch, payload_bytes_max, SPACING);
    while let Some((frame, checksum)) = walk.next()? {
        (end.position, end.chain, offset) = (walk.position, checksum, walk.offset);
        if frame.index == last {
            break;
        }
    }
    Ok((end, offset))
}
