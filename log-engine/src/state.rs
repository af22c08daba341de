//! The state of an open log, under its lock. Nothing here touches the disk.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use bytes::{Bytes, BytesMut};

use crate::{
    Checkpoint, Frame, FrameKind, IndexPoint, LogStart, PreviousSegment, SegmentExtent, SegmentHeader, SparseIndex,
    TermStart, Vote,
    format::{DurableMark, Place, encode_local},
    read::{FrameEnd, Tail},
    segment_file::SegmentFile,
};

/// A segment of the chain.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) file: Arc<SegmentFile>,
    pub(crate) extent: SegmentExtent,
    /// Whether a recovery could begin at it.
    pub(crate) checkpointed: bool,
}

/// What is on stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Durable {
    /// The greatest log index.
    pub(crate) through: Option<u64>,
    /// The segment whose bytes `position` counts.
    pub(crate) segment: u64,
    pub(crate) position: u64,
}

/// A segment just begun: what its writer needs.
pub(crate) struct Begun {
    pub(crate) file: Arc<SegmentFile>,
    pub(crate) header: Bytes,
    /// Its first log index.
    pub(crate) base_index: u64,
}

/// Everything an open log knows. Invariants: see [`State::check`].
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) replica: u64,
    pub(crate) owner: u128,
    pub(crate) directory: PathBuf,
    /// The chain, oldest first; never empty. The last one is the active segment.
    pub(crate) segments: Vec<Segment>,
    /// The sparse index of the active segment.
    pub(crate) index: SparseIndex,
    /// The number of the next segment.
    pub(crate) next_number: u64,
    /// One past the last log index.
    pub(crate) next_index: u64,
    /// The partition's end offset after the last entry.
    pub(crate) end_offset: u64,
    /// The greatest leader time of all entries, milliseconds since 1970; 0 if none has one.
    pub(crate) time_ms: i64,
    pub(crate) terms: Vec<TermStart>,
    pub(crate) vote: Option<Vote>,
    pub(crate) start: LogStart,
    /// The log index of the newest start that is on stable storage.
    pub(crate) durable_start: u64,
    pub(crate) tail: Tail,
    pub(crate) durable: Durable,
    /// Counts truncations: a write queued before one says nothing of the entries after it.
    pub(crate) generation: u64,
    /// Whether anything was written since the last durable mark.
    pub(crate) unmarked: bool,
    /// Whether the file of the next segment was asked for ahead of its time.
    pub(crate) next_prepared: bool,
}

impl State {
    pub(crate) fn active(&self) -> &Segment {
        &self.segments[self.segments.len() - 1]
    }

    /// Whether this is the file of a segment on the chain: not trimmed or truncated away, nor replaced.
    pub(crate) fn has_file(&self, file: &Arc<SegmentFile>) -> bool {
        self.segments.iter().any(|segment| Arc::ptr_eq(&segment.file, file))
    }

    fn extent(&mut self) -> &mut SegmentExtent {
        let last = self.segments.len() - 1;
        &mut self.segments[last].extent
    }

    /// The term of the last entry at or below `index`.
    pub(crate) fn term_of(&self, index: u64) -> Option<u64> {
        if index >= self.next_index || index + 1 < self.start.index {
            return None;
        }
        if index + 1 == self.start.index {
            return Some(self.start.term);
        }
        self.terms[..self.terms.partition_point(|start| start.index <= index)].last().map(|start| start.term)
    }

    fn mark(&self) -> DurableMark {
        let here = self.active().extent.number == self.durable.segment;
        DurableMark { through: self.durable.through, position: if here { self.durable.position } else { 0 } }
    }

    /// Takes an entry into memory and appends its bytes on disk to `parts`.
    pub(crate) fn push(&mut self, frame: Frame, heads: &mut BytesMut, parts: &mut Vec<Bytes>) {
        assert_eq!(frame.index, self.next_index, "log indexes are dense");
        assert!(frame.kind.is_entry(), "a local frame is not an entry");
        assert!(self.terms.last().is_none_or(|start| start.term <= frame.term), "terms never go back");
        self.time_ms = self.time_ms.max(frame.leader_time_ms);
        let (mark, time_ms, offset) = (self.mark(), self.time_ms, self.end_offset);
        let position = self.extent().end;
        self.index.observe(IndexPoint { index: frame.index, offset, time_ms, position });
        let extent = self.extent();
        extent.end_checksum = frame.encode_for_disk(place_behind(extent, mark), heads, parts);
        extent.end += frame.disk_size();
        let end = FrameEnd { segment: extent.number, position: extent.end, checksum: extent.end_checksum, time_ms };
        if self.terms.last().is_none_or(|start| start.term != frame.term) {
            self.terms.push(TermStart { term: frame.term, index: frame.index });
        }
        self.next_index += 1;
        self.end_offset = frame.next_offset;
        self.tail.push(frame, end);
        self.unmarked = true;
    }

    /// Encodes the current vote as the next frame of the active segment; empty if there is none.
    pub(crate) fn push_vote(&mut self) -> Bytes {
        self.vote.map_or_else(Bytes::new, |vote| self.push_local(FrameKind::Vote, vote.payload()))
    }

    /// Encodes the start of the log as the next frame of the active segment.
    pub(crate) fn push_start(&mut self) -> Bytes {
        self.push_local(FrameKind::Start, self.start.payload())
    }

    fn push_local(&mut self, kind: FrameKind, payload: [u8; 24]) -> Bytes {
        let (next_index, mark) = (self.next_index, self.mark());
        let extent = self.extent();
        let (bytes, checksum) = encode_local(kind, payload, next_index, place_behind(extent, mark));
        extent.end_checksum = checksum;
        extent.end += bytes.len() as u64;
        bytes
    }

    /// Starts a new segment behind the current end of the log, sealing the one before.
    pub(crate) fn roll(&mut self) -> Begun {
        let previous = self.segments.last().map(|segment| PreviousSegment {
            number: segment.extent.number,
            end: segment.extent.end,
            checksum: segment.extent.end_checksum,
        });
        self.begin_segment(previous)
    }

    /// Forgets the whole log and starts a new one at `start`. Vote and segment numbers go on.
    pub(crate) fn restart(&mut self, start: LogStart) -> Begun {
        (self.start, self.next_index, self.end_offset, self.time_ms) = (start, start.index, start.offset, 0);
        self.durable_start = start.index;
        self.segments.clear();
        self.terms.clear();
        self.tail.clear();
        self.generation += 1;
        // Nothing of the new log is on stable storage before its first segment is: a crash brings the old one back.
        self.durable.through = None;
        let begun = self.begin_segment(None);
        let last = self.segments.len() - 1;
        self.segments[last].checkpointed = true;
        begun
    }

    fn begin_segment(&mut self, previous: Option<PreviousSegment>) -> Begun {
        let number = self.next_number;
        let header = SegmentHeader {
            number,
            base_index: self.next_index,
            replica: self.replica,
            owner: self.owner,
            base_offset: self.end_offset,
            base_time_ms: self.time_ms,
            previous,
            vote: self.vote,
            start: self.start,
        };
        let (bytes, checksum) = header.encode();
        let file = SegmentFile::planned(&self.directory, number);
        let extent = extent_of(&header, checksum);
        self.segments.push(Segment { file: file.clone(), extent, checkpointed: false });
        self.index = SparseIndex::default();
        self.next_number += 1;
        self.next_prepared = false;
        Begun { file, header: bytes, base_index: header.base_index }
    }

    /// Cuts the log off behind the entry that ends at `end`, in the segment at `keep - 1`, with the partition's end
    /// offset there. Returns the files of the segments that go.
    pub(crate) fn truncate_from(
        &mut self,
        from: u64,
        keep: usize,
        end: FrameEnd,
        offset: u64,
    ) -> Vec<Arc<SegmentFile>> {
        let dropped = self.segments.split_off(keep).into_iter().map(|segment| segment.file).collect();
        let extent = self.extent();
        assert_eq!(end.segment, extent.number, "the last entry kept is in the last segment kept");
        (extent.end, extent.end_checksum) = (end.position, end.checksum);
        self.index.truncate_from(from);
        self.tail.truncate_from(from);
        (self.next_index, self.end_offset, self.time_ms) = (from, offset, end.time_ms);
        self.terms.truncate(self.terms.partition_point(|start| start.index < from));
        self.generation += 1;
        self.durable.through = self.durable.through.min(from.checked_sub(1));
        dropped
    }

    /// Moves the start of the log forward, within it.
    pub(crate) fn trim(&mut self, index: u64, offset: u64) {
        let term = index.checked_sub(1).and_then(|before| self.term_of(before)).unwrap_or(0);
        self.start = LogStart { index, term, offset };
        self.forget_terms();
    }

    /// Forgets the terms that end before the start of the log.
    pub(crate) fn forget_terms(&mut self) {
        let start = self.start.index;
        let first = self.terms.partition_point(|term| term.index <= start).saturating_sub(1);
        self.terms.drain(..first);
    }

    /// The segment at which a recovery would begin once all before the start of the log is gone: the last one at or
    /// before the start that has a checkpoint. Only what is on stable storage counts, start and segment alike: before
    /// that, a crash brings the older ones back.
    pub(crate) fn trim_base(&self) -> Option<Segment> {
        let (start, durable) = (self.durable_start, self.durable.segment);
        let could_be = |segment: &&Segment| {
            segment.checkpointed && segment.extent.base_index <= start && segment.extent.number <= durable
        };
        self.segments.iter().rfind(could_be).cloned()
    }

    /// Takes the segments before this one off the chain and returns their numbers.
    pub(crate) fn take_before(&mut self, number: u64) -> Vec<u64> {
        let first = self.segments.iter().position(|segment| segment.extent.number == number).unwrap_or(0);
        self.segments.drain(..first).map(|segment| segment.extent.number).collect()
    }

    /// Takes the oldest segments off the chain that hold nothing from the start of the log on and are gone already: a
    /// truncation must not make one of them the predecessor of a new segment.
    pub(crate) fn forget_trimmed(&mut self, there: &BTreeSet<u64>) {
        let start = self.start.index;
        let pairs = self.segments.windows(2);
        let is_gone = |pair: &&[Segment]| pair[1].extent.base_index <= start && !there.contains(&pair[0].extent.number);
        let gone = pairs.take_while(is_gone).count();
        self.segments.drain(..gone);
    }

    /// The checkpoint of a segment is not there or damaged.
    pub(crate) fn forget_checkpoint(&mut self, number: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.extent.number == number) {
            segment.checkpointed = false;
        }
    }

    /// The checkpoint of the segment that begins at `base_index`, if there is one that was rolled to.
    pub(crate) fn checkpoint(&self, base_index: u64, state: Bytes) -> Option<Checkpoint> {
        let at = self.segments.iter().rposition(|segment| segment.extent.base_index == base_index)?;
        let segment = self.segments[at].extent;
        Some(Checkpoint {
            segment: segment.number,
            segment_checksum: segment.head_checksum,
            terms: self.terms.iter().filter(|start| start.index < base_index).copied().collect(),
            segments: self.segments[..at].iter().map(|segment| segment.extent).collect(),
            state,
        })
    }

    /// States the invariants; called where the state changes, in builds with debug assertions.
    pub(crate) fn check(&self) {
        debug_assert!(!self.segments.is_empty(), "a log has a segment");
        let ordered =
            |a: &Segment, b: &Segment| a.extent.number < b.extent.number && a.extent.base_index <= b.extent.base_index;
        debug_assert!(self.segments.is_sorted_by(ordered));
        debug_assert!(self.durable.through.is_none_or(|through| through < self.next_index), "durable is in the log");
        debug_assert!(self.start.index <= self.next_index, "the log starts within itself");
        debug_assert!(self.terms.is_sorted_by(|a, b| a.term < b.term && a.index < b.index));
        debug_assert!(self.terms.last().is_none_or(|start| start.index < self.next_index));
        debug_assert!(self.tail.is_empty() || self.tail.end() == self.next_index, "the tail ends with the log");
    }
}

/// The place of the next frame of a segment.
fn place_behind(extent: &SegmentExtent, mark: DurableMark) -> Place {
    Place { salt: extent.head_checksum, previous_checksum: extent.end_checksum, mark, checksum: None }
}

/// The extent of a segment that holds nothing yet.
pub(crate) fn extent_of(header: &SegmentHeader, checksum: u32) -> SegmentExtent {
    SegmentExtent {
        number: header.number,
        base_index: header.base_index,
        base_offset: header.base_offset,
        base_time_ms: header.base_time_ms,
        end: crate::SEGMENT_HEADER_SIZE as u64,
        head_checksum: checksum,
        end_checksum: checksum,
    }
}
