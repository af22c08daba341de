//! Finding entries in an open log: in memory at once, or where on the disk to look for them.

use crate::{
    ColdRead, Frame, FrameError, Log, LogStart, ReadError, SEGMENT_HEADER_SIZE,
    read::{FrameEnd, Stretch, Walk, point_is_before},
    state::{Segment, State},
};

/// Bytes read at once to look a place up.
const LOOKUP_CHUNK: u64 = 16 << 10;

/// Where a read starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadStart {
    /// At the entry of this log index.
    Index(u64),
    /// At the batch that holds this offset; at the start of the log, if that is behind it.
    Offset(u64),
    /// At the first entry of this leader time (milliseconds since 1970) or later. Leader times may go back a little from
    /// one entry to the next: what follows may have been proposed before.
    Time(i64),
}

/// How to get what was asked for.
#[derive(Debug)]
pub enum ReadPlan {
    /// It was in memory.
    Ready(Vec<Frame>),
    /// It must be read; [`ColdRead::run`] blocks.
    Cold(ColdRead),
}

impl Log {
    /// Finds entries from `start` on, below `end_index`, at most `bytes_max` bytes beyond the first. A cold read may
    /// return fewer than asked for, but at least one if there is one.
    #[must_use]
    pub fn plan_read(&self, start: ReadStart, end_index: u64, bytes_max: usize) -> ReadPlan {
        let state = self.shared.lock();
        let end_index = end_index.min(state.next_index);
        let first_index = state.start.index;
        let first = match start {
            ReadStart::Index(index) => Some(index.max(first_index)),
            ReadStart::Offset(offset) if offset >= state.end_offset => return ReadPlan::Ready(Vec::new()),
            ReadStart::Offset(offset) if offset < state.start.offset => Some(first_index),
            ReadStart::Offset(offset) => state.tail.find_offset(offset).filter(|first| *first >= first_index),
            ReadStart::Time(time_ms) if time_ms > state.time_ms => return ReadPlan::Ready(Vec::new()),
            // The first of that time may have been trimmed away, and the next of that time be anywhere behind it.
            ReadStart::Time(time_ms) => state.tail.find_time(time_ms).filter(|first| *first >= first_index),
        };
        if first.is_some_and(|first| first >= end_index) {
            return ReadPlan::Ready(Vec::new());
        }
        match first.filter(|first| state.tail.get(*first).is_some()) {
            Some(first) => ReadPlan::Ready(state.tail.read(first, end_index, bytes_max)),
            None => {
                let start = first.map_or(start, ReadStart::Index);
                ReadPlan::Cold(self.cold_read(&state, start, end_index, bytes_max))
            }
        }
    }

    fn cold_read(&self, state: &State, start: ReadStart, end_index: u64, bytes_max: usize) -> ColdRead {
        let first_index = state.start.index;
        let begins_before = |segment: &Segment| {
            segment.extent.base_index <= first_index
                || match start {
                    ReadStart::Index(index) => segment.extent.base_index <= index,
                    ReadStart::Offset(offset) => segment.extent.base_offset <= offset,
                    ReadStart::Time(time_ms) => segment.extent.base_time_ms < time_ms,
                }
        };
        let first = state.segments.partition_point(begins_before).saturating_sub(1);
        let last = state.segments.len() - 1;
        let mut stretches: Vec<Stretch> = Vec::new();
        // The first segment may end anywhere; those after it are read from their beginning, as far as bytes are wanted.
        let mut bytes = 0_usize;
        for (at, Segment { file, extent, .. }) in state.segments.iter().enumerate().skip(first) {
            let point = || state.index.last_before(extent.end, |point| point_is_before(point, start, first_index));
            let point = if at == last && at == first { point() } else { None };
            stretches.push(Stretch { file: file.clone(), extent: *extent, point, finished: at < last });
            bytes = bytes.saturating_add(if at > first { extent.end as usize } else { 0 });
            if bytes > bytes_max && !matches!(start, ReadStart::Time(_)) {
                break;
            }
        }
        // The first entry of some time may be in memory or on the disk, if the first of all was trimmed away.
        let otherwise = match start {
            ReadStart::Time(time_ms) => state.tail.read_time(time_ms, first_index, end_index, bytes_max),
            _ => Vec::new(),
        };
        ColdRead {
            log: self.shared.clone(),
            stretches,
            start,
            log_start: state.start,
            end_index: state.tail.first().map_or(end_index, |first| first.min(end_index)),
            bytes_max,
            otherwise,
        }
    }

    /// Looks up on disk where the entries before `from` end in a segment, and the partition's end offset there. All of
    /// them must be on stable storage; nothing behind them is read, since it may not be written yet.
    pub(super) fn end_before(&self, state: &State, at: usize, from: u64) -> Result<(FrameEnd, u64), ReadError> {
        let Segment { file, extent, .. } = &state.segments[at];
        let mut end = FrameEnd {
            segment: extent.number,
            position: SEGMENT_HEADER_SIZE as u64,
            checksum: extent.head_checksum,
            time_ms: extent.base_time_ms,
        };
        let mut offset = extent.base_offset;
        let Some(last) = from.checked_sub(1).filter(|_| from > extent.base_index) else {
            return Ok((end, offset));
        };
        let finished = at + 1 < state.segments.len();
        let point = if finished { None } else { state.index.last_before(extent.end, |point| point.index <= last) };
        let stretch = Stretch { file: file.clone(), extent: *extent, point, finished };
        let read = ColdRead {
            log: self.shared.clone(),
            stretches: Vec::new(),
            start: ReadStart::Index(last),
            log_start: LogStart::default(),
            end_index: from,
            bytes_max: 0,
            otherwise: Vec::new(),
        };
        let (handle, point) = read.open(&stretch, true)?;
        let max = self.shared.payload_bytes_max;
        let mut walk = Walk::new((&*handle, &file.path), extent, point, from, max, LOOKUP_CHUNK);
        while let Some(found) = walk.find()? {
            walk.skip(&found);
            (end.position, end.checksum, end.time_ms) = (walk.position, found.header.checksum, found.time_ms);
            offset = walk.offset;
        }
        if walk.index != from {
            return Err(walk.damaged(FrameError::Index { expected: from, found: walk.index }));
        }
        Ok((end, offset))
    }
}
