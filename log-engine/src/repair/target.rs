//! The segment to repair, and what the rest of the log says of it.

use std::sync::Arc;

use bytes::Bytes;

use super::RepairError;
use crate::{
    LogStart, PreviousSegment, SegmentExtent, SegmentHeader, segment_file::SegmentFile, shared::Shared, state::State,
};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(super) file: Arc<SegmentFile>,
    pub(super) extent: SegmentExtent,
    /// The number of the segment behind it, and what that begins with.
    successor: u64,
    pub(super) end_index: u64,
    pub(super) end_offset: u64,
    /// What is needed of it: from the start of the log on, or all.
    pub(super) first: LogStart,
    previous: Option<PreviousSegment>,
    replica: u64,
    owner: u128,
}

/// The place of a finished segment on the chain.
fn place(state: &State, number: u64) -> Option<usize> {
    let at = state.segments.iter().position(|segment| segment.extent.number == number)?;
    // A segment's bytes are durable before its successor is.
    let next = state.segments.get(at + 1).filter(|next| next.extent.number <= state.durable.segment);
    next.map(|_| at)
}

/// Whether a segment is finished, and on stable storage as a whole.
pub(super) fn is_finished(state: &State, number: u64) -> bool {
    place(state, number).is_some()
}

impl Target {
    pub(super) fn find(log: &Shared, number: u64) -> Result<Self, RepairError> {
        let state = log.lock();
        let at = place(&state, number).ok_or(RepairError::NotFinished { segment: number })?;
        let (segment, next) = (&state.segments[at], state.segments[at + 1].extent);
        let extent = segment.extent;
        let begin = LogStart { index: extent.base_index, term: 0, offset: extent.base_offset };
        let previous = at.checked_sub(1).map(|before| state.segments[before].extent);
        Ok(Self {
            file: segment.file.clone(),
            extent,
            successor: next.number,
            end_index: next.base_index,
            end_offset: next.base_offset,
            first: if state.start.index > begin.index { state.start } else { begin },
            previous: previous.map(|extent| PreviousSegment {
                number: extent.number,
                end: extent.end,
                checksum: extent.end_checksum,
            }),
            replica: state.replica,
            owner: state.owner,
        })
    }

    /// Whether the log still has the segment as it was when the repair began.
    pub(super) fn is_current(&self, state: &State) -> bool {
        place(state, self.extent.number).is_some_and(|at| {
            let (segment, next) = (&state.segments[at], &state.segments[at + 1]);
            Arc::ptr_eq(&segment.file, &self.file)
                && segment.extent == self.extent
                && next.extent.number == self.successor
        })
    }

    /// The segment's header, with the checksum that it had. A predecessor that was trimmed away is not named.
    pub(super) fn header(&self) -> Bytes {
        let header = SegmentHeader {
            number: self.extent.number,
            base_index: self.extent.base_index,
            replica: self.replica,
            owner: self.owner,
            base_offset: self.extent.base_offset,
            base_time_ms: self.extent.base_time_ms,
            previous: self.previous,
            vote: None,
            start: LogStart::default(),
        };
        header.encode_with_checksum(self.extent.head_checksum)
    }

    pub(super) fn outdated(&self) -> RepairError {
        RepairError::Outdated { segment: self.extent.number }
    }
}
