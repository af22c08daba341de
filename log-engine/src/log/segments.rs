//! The segments of an open log, as its callers may know them.

use crate::{Log, SEGMENT_HEADER_SIZE};

/// A segment of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number.
    pub number: u64,
    /// The first log index it may hold.
    pub base_index: u64,
    /// The partition's end offset before its first entry.
    pub base_offset: u64,
    /// The greatest leader time before its first entry, milliseconds since 1970; 0 if none.
    pub base_time_ms: i64,
    /// The byte position behind its last frame, written yet or not.
    pub bytes: u64,
    /// Whether a recovery could begin at it: its checkpoint is on stable storage.
    pub checkpointed: bool,
    /// Whether its header is on stable storage, and hence all before it.
    pub durable: bool,
}

impl Log {
    /// The segments of the log, oldest first; never empty. The last one is the active one.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let state = self.shared.lock();
        let info = |segment: &crate::state::Segment| {
            let extent = &segment.extent;
            let durable = extent.number <= state.durable.segment;
            SegmentInfo {
                number: extent.number,
                base_index: extent.base_index,
                base_offset: extent.base_offset,
                base_time_ms: extent.base_time_ms,
                bytes: extent.end,
                // That of a restart is written with the segment's header.
                checkpointed: segment.checkpointed && durable,
                durable,
            }
        };
        state.segments.iter().map(info).collect()
    }

    /// The greatest leader time of all entries, milliseconds since 1970; 0 if none has one.
    #[must_use]
    pub fn newest_time_ms(&self) -> i64 {
        self.shared.lock().time_ms
    }

    /// Finishes the active segment and begins another one, if it holds anything: then what is damaged in it can be
    /// repaired. Returns the first log index of the segment that began: the caller may give it a checkpoint.
    pub fn seal(&self) -> Option<u64> {
        let mut state = self.shared.lock();
        if self.shared.failure().is_some() || state.active().extent.end == SEGMENT_HEADER_SIZE as u64 {
            return None;
        }
        let base_index = self.roll(&mut state, Vec::new());
        state.check();
        Some(base_index)
    }
}
