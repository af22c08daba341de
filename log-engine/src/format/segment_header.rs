//! A segment file: its name and its header. All integers are little-endian.
//!
//! ```text
//!  0  magic u32 = "QSEG"   4  format u8   5  vote u8: 0 none, 1 given, 2 committed   6  reserved [u8; 2]
//!  8  number u64: ascending by creation, part of the file's name
//! 16  base index u64: the first log index the segment may hold
//! 24  replica id u64
//! 32  base offset u64: the partition's end offset before the segment's first entry
//! 40  previous number u64 (all ones: none)
//! 48  previous end u64: the byte position at which the previous segment ends. Bytes behind it are stale.
//! 56  vote term u64
//! 64  vote for u64
//! 72  previous checksum u32: that of the last frame header before that position
//! 76  checksum u32: CRC-32C of bytes 0 to 75
//! ```
//! The vote is the last one saved before the segment began: a truncation that leaves the vote's frame behind loses
//! nothing, and no damage to the header can go unnoticed as a torn frame could. The newest segment is the end of the chain of `previous`; a segment off the chain was truncated away.

use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    Vote,
    frame_header::{ALIGNMENT, FORMAT},
};

/// Bytes of a segment header.
pub const SEGMENT_HEADER_SIZE: usize = 80;

const MAGIC: &[u8; 4] = b"QSEG";
const NONE: u64 = u64::MAX;
const CHECKSUM_AT: usize = 76;

const _: () = assert!(SEGMENT_HEADER_SIZE == CHECKSUM_AT + 4);
const _: () = assert!((SEGMENT_HEADER_SIZE as u64).is_multiple_of(ALIGNMENT));

/// Where a segment's predecessor ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviousSegment {
    /// Its number.
    pub number: u64,
    /// The byte position at which it ends.
    pub end: u64,
    /// The checksum of the last frame header before that position, or of its segment header.
    pub checksum: u32,
}

/// A segment header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The segment's number.
    pub number: u64,
    /// The first log index it may hold.
    pub base_index: u64,
    /// The replica it belongs to.
    pub replica: u64,
    /// The partition's end offset before the segment's first entry.
    pub base_offset: u64,
    /// The segment before it.
    pub previous: Option<PreviousSegment>,
    /// The last vote saved before the segment began.
    pub vote: Option<Vote>,
}

/// What is wrong with a segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SegmentHeaderError {
    /// It is cut short, not a segment header, or does not match its checksum.
    #[error("{0}")]
    Damaged(&'static str),
    /// Another disk format.
    #[error("format {0}")]
    Format(u8),
}

impl SegmentHeader {
    /// The header's bytes and its checksum, which begins the chain of the segment's frames.
    pub(crate) fn encode(&self) -> (Bytes, u32) {
        let mut bytes = BytesMut::with_capacity(SEGMENT_HEADER_SIZE);
        bytes.put_slice(MAGIC);
        bytes.put_u8(FORMAT);
        bytes.put_u8(self.vote.map_or(0, |vote| 1 + u8::from(vote.committed)));
        bytes.put_bytes(0, 2);
        bytes.put_u64_le(self.number);
        bytes.put_u64_le(self.base_index);
        bytes.put_u64_le(self.replica);
        bytes.put_u64_le(self.base_offset);
        bytes.put_u64_le(self.previous.map_or(NONE, |previous| previous.number));
        bytes.put_u64_le(self.previous.map_or(0, |previous| previous.end));
        bytes.put_u64_le(self.vote.map_or(0, |vote| vote.term));
        bytes.put_u64_le(self.vote.map_or(0, |vote| vote.voted_for));
        bytes.put_u32_le(self.previous.map_or(0, |previous| previous.checksum));
        let checksum = crc32c::crc32c(&bytes);
        bytes.put_u32_le(checksum);
        (bytes.freeze(), checksum)
    }

    /// Decodes a header and returns it with its checksum.
    ///
    /// # Errors
    /// See [`SegmentHeaderError`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u32), SegmentHeaderError> {
        let bytes: &[u8; SEGMENT_HEADER_SIZE] =
            bytes.try_into().map_err(|_| SegmentHeaderError::Damaged("cut short"))?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if &bytes[..4] != MAGIC {
            return Err(SegmentHeaderError::Damaged("not a segment"));
        }
        if bytes[4] != FORMAT {
            return Err(SegmentHeaderError::Format(bytes[4]));
        }
        let checksum = crc32c::crc32c(&bytes[..CHECKSUM_AT]);
        if checksum != u32_at(CHECKSUM_AT) {
            return Err(SegmentHeaderError::Damaged("the checksum does not match"));
        }
        let previous = PreviousSegment { number: u64_at(40), end: u64_at(48), checksum: u32_at(72) };
        let vote = Vote { term: u64_at(56), voted_for: u64_at(64), committed: bytes[5] == 2 };
        let header = Self {
            number: u64_at(8),
            base_index: u64_at(16),
            replica: u64_at(24),
            base_offset: u64_at(32),
            previous: (previous.number != NONE).then_some(previous),
            vote: (bytes[5] != 0).then_some(vote),
        };
        Ok((header, checksum))
    }
}

/// The path of a segment.
pub(crate) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.log"))
}

/// The number in a segment's file name.
pub(crate) fn number_of(file_name: &str) -> Option<u64> {
    file_name.strip_suffix(".log").filter(|digits| digits.len() == 20)?.parse().ok()
}
