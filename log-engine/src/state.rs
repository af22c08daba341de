//! The state of an open log, under its lock, and what its writer thread tells back.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use bytes::{Bytes, BytesMut};

use crate::{
    Frame, LogFailure, Stamp, Vfs, VfsFile, Vote,
    cache::{FrameEnd, Tail},
    segment::{self, PreviousSegment, SegmentHeader},
    sparse::{IndexPoint, SparseIndex},
};

/// A segment file. The writer thread creates it after the log has decided to; nothing reads it before.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    handle: OnceLock<Arc<dyn VfsFile>>,
}

impl SegmentFile {
    pub(crate) fn planned(directory: &Path, number: u64) -> Arc<Self> {
        Arc::new(Self { number, path: segment::path(directory, number), handle: OnceLock::new() })
    }

    pub(crate) fn opened(directory: &Path, number: u64, handle: Arc<dyn VfsFile>) -> Arc<Self> {
        Arc::new(Self { number, path: segment::path(directory, number), handle: OnceLock::from(handle) })
    }

    pub(crate) fn set(&self, handle: Arc<dyn VfsFile>) {
        assert!(self.handle.set(handle).is_ok(), "a segment is created once");
    }

    pub(crate) fn handle(&self) -> std::io::Result<&Arc<dyn VfsFile>> {
        self.handle.get().ok_or_else(|| std::io::Error::other("the segment is not created yet"))
    }
}

/// A segment of the chain.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) file: Arc<SegmentFile>,
    pub(crate) base_index: u64,
    pub(crate) base_offset: u64,
    /// The checksum of its header.
    pub(crate) head_chain: u32,
    /// The byte position behind its last frame.
    pub(crate) end: u64,
    /// The checksum the next frame header names as its predecessor's.
    pub(crate) chain: u32,
    pub(crate) index: SparseIndex,
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

/// One term's first entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TermStart {
    pub(crate) term: u64,
    pub(crate) index: u64,
}

/// Everything an open log knows. Invariants: see [`State::check`].
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) replica: u64,
    pub(crate) directory: PathBuf,
    /// The chain, oldest first; never empty.
    pub(crate) segments: Vec<Segment>,
    /// The number of the next segment.
    pub(crate) next_number: u64,
    /// One past the last log index.
    pub(crate) next_index: u64,
    /// The partition's end offset after the last entry.
    pub(crate) end_offset: u64,
    pub(crate) terms: Vec<TermStart>,
    pub(crate) vote: Option<Vote>,
    pub(crate) tail: Tail,
    pub(crate) durable: Durable,
    /// Counts truncations: a write queued before one says nothing of the entries after it.
    pub(crate) generation: u64,
    /// Whether anything was written since the last durable mark.
    pub(crate) unmarked: bool,
}

impl State {
    pub(crate) fn active(&mut self) -> &mut Segment {
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    /// The term of the last entry at or below `index`.
    pub(crate) fn term_of(&self, index: u64) -> Option<u64> {
        if index >= self.next_index {
            return None;
        }
        self.terms[..self.terms.partition_point(|start| start.index <= index)].last().map(|start| start.term)
    }

    fn durable_position(&self) -> u64 {
        let active = self.segments.last().map(|segment| segment.file.number);
        if active == Some(self.durable.segment) { self.durable.position } else { 0 }
    }

    /// Takes an entry into memory and appends its bytes on disk to `parts`.
    pub(crate) fn push(&mut self, frame: Frame, heads: &mut BytesMut, parts: &mut Vec<Bytes>) {
        assert_eq!(frame.index, self.next_index, "log indexes are dense");
        assert!(frame.kind.is_entry(), "votes are not entries");
        assert!(self.terms.last().is_none_or(|start| start.term <= frame.term), "terms never go back");
        let (durable, position) = (self.durable.through, self.durable_position());
        let point = IndexPoint { index: frame.index, offset: self.end_offset, position: self.active().end };
        let active = self.active();
        active.index.observe(point);
        active.chain = frame.encode_for_disk(durable, position, active.chain, heads, parts);
        active.end += frame.disk_size();
        let end = FrameEnd { segment: active.file.number, position: active.end, chain: active.chain };
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
        let Some(vote) = self.vote else { return Bytes::new() };
        let (next_index, durable, position) = (self.next_index, self.durable.through, self.durable_position());
        let active = self.active();
        let (bytes, checksum) = vote.encode_for_disk(next_index, durable, position, active.chain);
        active.chain = checksum;
        active.end += bytes.len() as u64;
        bytes
    }

    /// Starts a new segment behind the current end of the log and returns it with its header's bytes, the current
    /// vote in them.
    pub(crate) fn roll(&mut self) -> (Arc<SegmentFile>, Bytes) {
        let previous = self.segments.last().map(|segment| PreviousSegment {
            number: segment.file.number,
            end: segment.end,
            checksum: segment.chain,
        });
        let number = self.next_number;
        self.next_number += 1;
        let header = SegmentHeader {
            number,
            base_index: self.next_index,
            replica: self.replica,
            base_offset: self.end_offset,
            previous,
            vote: self.vote,
        };
        let (bytes, checksum) = header.encode();
        let file = SegmentFile::planned(&self.directory, number);
        self.segments.push(Segment {
            file: file.clone(),
            base_index: self.next_index,
            base_offset: self.end_offset,
            head_chain: checksum,
            end: bytes.len() as u64,
            chain: checksum,
            index: SparseIndex::default(),
        });
        (file, bytes)
    }

    /// States the invariants; called where the state changes, in builds with debug assertions.
    pub(crate) fn check(&self) {
        debug_assert!(!self.segments.is_empty(), "a log has a segment");
        debug_assert!(self.segments.is_sorted_by(|a, b| a.file.number < b.file.number && a.base_index <= b.base_index));
        debug_assert!(self.durable.through.is_none_or(|through| through < self.next_index), "durable is in the log");
        debug_assert!(self.terms.is_sorted_by(|a, b| a.term < b.term && a.index < b.index));
        debug_assert!(self.terms.last().is_none_or(|start| start.index < self.next_index));
        debug_assert!(self.tail.is_empty() || self.tail.end() == self.next_index, "the tail ends with the log");
    }
}

/// An open log as its callers and its writer thread share it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) directory: PathBuf,
    pub(crate) segment_bytes: u64,
    pub(crate) payload_bytes_max: u64,
    state: Mutex<State>,
    failure: OnceLock<LogFailure>,
}

impl Shared {
    pub(crate) fn new(vfs: Arc<dyn Vfs>, segment_bytes: u64, payload_bytes_max: u64, state: State) -> Self {
        let directory = state.directory.clone();
        Self { vfs, directory, segment_bytes, payload_bytes_max, state: Mutex::new(state), failure: OnceLock::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a broken invariant, and the process is on its way down.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn failure(&self) -> Option<&LogFailure> {
        self.failure.get()
    }

    /// Poisons the log for good and returns the first failure.
    pub(crate) fn poison(&self, reason: &str) -> LogFailure {
        let failure = self.failure.get_or_init(|| LogFailure(reason.into()));
        tracing::error!(%failure, "a log takes no further writes");
        failure.clone()
    }

    /// Called by the writer thread when everything of `generation` up to here is on stable storage.
    pub(crate) fn synced(&self, generation: u64, through: Option<u64>, segment: u64, position: u64) {
        let mut state = self.lock();
        if state.generation == generation {
            state.durable = Durable { through: state.durable.through.max(through), segment, position };
            let evictable = state.durable.through;
            state.tail.shrink(evictable);
            state.check();
        }
    }
}

/// The stamp of a batch on disk, from its header.
pub(crate) fn stamp_of(header: &quorate_record::BatchHeader) -> Stamp {
    Stamp { base_offset: header.base_offset.cast_unsigned(), leader_epoch: header.leader_epoch }
}
