//! A checkpoint: what a recovery needs to begin at a segment and not at the beginning of the log.
//!
//! ```text
//!  0  magic u32 = "QCKP"   4  format u8   5  reserved [u8; 3]
//!  8  segment number u64  16  checksum of the segment's header u32
//! 20  terms u32           24  segments u32          28  bytes of the state u32
//! 32  terms × (term u64, its first log index u64)
//!  …  segments × (number u64, base index u64, base offset u64, base time i64, end u64,
//!     checksum of its header u32, checksum of its last frame header u32)
//!  …  the caller's state
//!  …  checksum u32: CRC-32C of all before it
//! ```
//! It speaks of the log before the segment's first entry: the terms that began there, the segments that hold it, oldest
//! first, and whatever state the caller derives from those entries.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    FORMAT, VALUE_MAX,
    bytes_at::{u32_at, u64_at},
};

const MAGIC: &[u8; 4] = b"QCKP";
const HEAD_SIZE: usize = 32;
const TERM_SIZE: usize = 16;
const SEGMENT_SIZE: usize = 48;

/// One term's first entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermStart {
    /// The term.
    pub term: u64,
    /// The log index of its first entry.
    pub index: u64,
}

/// A segment's place in the log. Of a finished segment it never changes but by a truncation into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentExtent {
    /// Its number.
    pub number: u64,
    /// The first log index it may hold.
    pub base_index: u64,
    /// The partition's end offset before its first entry.
    pub base_offset: u64,
    /// The greatest leader time before its first entry, milliseconds since 1970.
    pub base_time_ms: i64,
    /// The byte position behind its last frame.
    pub end: u64,
    /// The checksum of its header: the salt of its frames.
    pub head_checksum: u32,
    /// The checksum of its last frame header, or of its header if it holds no frame.
    pub end_checksum: u32,
}

/// A checkpoint, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The number of the segment before whose first entry it was taken.
    pub segment: u64,
    /// The checksum of that segment's header.
    pub segment_checksum: u32,
    /// The terms that began before, ascending.
    pub terms: Vec<TermStart>,
    /// The segments before, oldest first.
    pub segments: Vec<SegmentExtent>,
    /// The caller's state.
    pub state: Bytes,
}

/// What is wrong with a checkpoint. It costs time, and entries only where others were trimmed away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It is not one, is cut short or does not match its checksum.
    #[error("{0}")]
    Damaged(&'static str),
    /// Another disk format.
    #[error("format {0} is not supported (this build: {FORMAT})")]
    Format(u8),
}

impl Checkpoint {
    /// Bytes of the largest checkpoint that is written or read: 64 MiB.
    pub const SIZE_MAX: usize = 64 << 20;

    /// The file's bytes; `None` if they would be more than [`Checkpoint::SIZE_MAX`].
    #[must_use]
    pub fn encode(&self) -> Option<BytesMut> {
        let body = self.terms.len() * TERM_SIZE + self.segments.len() * SEGMENT_SIZE + self.state.len();
        let size = HEAD_SIZE + body + 4;
        if size > Self::SIZE_MAX {
            return None;
        }
        let mut bytes = BytesMut::with_capacity(size);
        bytes.put_slice(MAGIC);
        bytes.put_u8(FORMAT);
        bytes.put_bytes(0, 3);
        bytes.put_u64_le(self.segment);
        bytes.put_u32_le(self.segment_checksum);
        bytes.put_u32_le(self.terms.len() as u32);
        bytes.put_u32_le(self.segments.len() as u32);
        bytes.put_u32_le(self.state.len() as u32);
        for start in &self.terms {
            bytes.put_u64_le(start.term);
            bytes.put_u64_le(start.index);
        }
        for segment in &self.segments {
            bytes.put_u64_le(segment.number);
            bytes.put_u64_le(segment.base_index);
            bytes.put_u64_le(segment.base_offset);
            bytes.put_i64_le(segment.base_time_ms);
            bytes.put_u64_le(segment.end);
            bytes.put_u32_le(segment.head_checksum);
            bytes.put_u32_le(segment.end_checksum);
        }
        bytes.put_slice(&self.state);
        bytes.put_u32_le(crc32c::crc32c(&bytes));
        Some(bytes)
    }

    /// Decodes a whole file. Allocates no more than a small multiple of what `bytes` has.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn decode(bytes: &Bytes) -> Result<Self, CheckpointError> {
        use CheckpointError::Damaged;
        if bytes.len() < 5 || &bytes[..4] != MAGIC {
            return Err(Damaged("not a checkpoint"));
        }
        if bytes[4] != FORMAT {
            return Err(CheckpointError::Format(bytes[4]));
        }
        if bytes.len() < HEAD_SIZE + 4 {
            return Err(Damaged("cut short"));
        }
        let count = |at: usize| u32_at(bytes, at) as usize;
        // Cannot overflow: three 32-bit values times at most 48.
        let (terms_size, segments_size, state_size) = (count(20) * TERM_SIZE, count(24) * SEGMENT_SIZE, count(28));
        if bytes.len() != HEAD_SIZE + terms_size + segments_size + state_size + 4 {
            return Err(Damaged("its size is not that of its parts"));
        }
        let content = bytes.len() - 4;
        if crc32c::crc32c(&bytes[..content]) != u32_at(bytes, content) {
            return Err(Damaged("the checksum does not match"));
        }
        let (terms, rest) = bytes[HEAD_SIZE..content].split_at(terms_size);
        let (segments, _) = rest.split_at(segments_size);
        let term = |bytes: &[u8]| TermStart { term: u64_at(bytes, 0), index: u64_at(bytes, 8) };
        let segment = |bytes: &[u8]| SegmentExtent {
            number: u64_at(bytes, 0),
            base_index: u64_at(bytes, 8),
            base_offset: u64_at(bytes, 16),
            base_time_ms: u64_at(bytes, 24).cast_signed(),
            end: u64_at(bytes, 32),
            head_checksum: u32_at(bytes, 40),
            end_checksum: u32_at(bytes, 44),
        };
        let checkpoint = Self {
            segment: u64_at(bytes, 8),
            segment_checksum: u32_at(bytes, 16),
            terms: terms.chunks_exact(TERM_SIZE).map(term).collect(),
            segments: segments.chunks_exact(SEGMENT_SIZE).map(segment).collect(),
            state: bytes.slice(content - state_size..content),
        };
        let terms_ascend = checkpoint.terms.is_sorted_by(|a, b| a.term < b.term && a.index < b.index);
        let follows = |a: &SegmentExtent, b: &SegmentExtent| a.number < b.number && a.base_index <= b.base_index;
        if !terms_ascend || !checkpoint.segments.is_sorted_by(follows) {
            return Err(Damaged("its parts do not ascend"));
        }
        if checkpoint.segments.last().is_some_and(|last| last.number >= checkpoint.segment) {
            return Err(Damaged("it names a segment that is not before its own"));
        }
        let fits = |extent: &SegmentExtent| {
            [extent.base_index, extent.base_offset, extent.end].into_iter().all(|value| value <= VALUE_MAX)
        };
        if !checkpoint.segments.iter().all(fits) || checkpoint.terms.iter().any(|term| term.index > VALUE_MAX) {
            return Err(Damaged("a value is out of range"));
        }
        Ok(checkpoint)
    }
}
