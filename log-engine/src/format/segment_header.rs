//! The header of a segment.
//!
//! ```text
//!   0  magic u32 = "QSEG"   4  format u8   5  vote u8: 0 none, 1 given, 2 committed   6  reserved [u8; 2]
//!   8  number u64: ascending by creation, part of the file's name
//!  16  base index u64: the first log index the segment may hold
//!  24  replica id u64
//!  32  base offset u64: the partition's end offset before the segment's first entry
//!  40  base time i64, ms: the greatest leader time before the segment's first entry, 0 if none
//!  48  previous number u64 (all ones: none)
//!  56  previous end u64: the byte position at which the previous segment ends: its seal. Bytes behind it are stale.
//!  64  vote term u64        72  voted for u64; without a vote, both are ignored, and what a repair has rebuilt holds
//!      in the first 4 bytes what gives the header the checksum it had
//!  80  start index u64      88  start term u64      96  start offset u64
//! 104  owner u128: whose replica it is, so that a directory of another cluster is not taken for this one's
//! 120  previous checksum u32: that of the last frame header before the seal (of the segment header if there is none)
//! 124  checksum u32: CRC-32C of bytes 0 to 123
//! ```
//! Vote and start are the last ones saved before the segment began: a truncation that leaves their frames behind loses
//! nothing, and no damage to the header can go unnoticed as a torn frame could. The newest segment is the end of the
//! chain of `previous`; a segment off the chain was truncated away.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    ALIGNMENT, FORMAT, LogStart, NONE, VALUE_MAX, Vote,
    bytes_at::{u32_at, u64_at},
    correction::correction,
};

/// Bytes of a segment header.
pub const SEGMENT_HEADER_SIZE: usize = 128;

const MAGIC: &[u8; 4] = b"QSEG";
const VOTE_TERM_AT: usize = 64;
const CHECKSUM_AT: usize = 124;

const _: () = assert!(SEGMENT_HEADER_SIZE == CHECKSUM_AT + 4);
const _: () = assert!((SEGMENT_HEADER_SIZE as u64).is_multiple_of(ALIGNMENT));
const _: () = assert!(SEGMENT_HEADER_SIZE <= 512, "a header lies within one sector: a crash leaves all of it or none");

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
    /// Whose replica that is.
    pub owner: u128,
    /// The partition's end offset before the segment's first entry.
    pub base_offset: u64,
    /// The greatest leader time before the segment's first entry, milliseconds since 1970.
    pub base_time_ms: i64,
    /// The segment before it.
    pub previous: Option<PreviousSegment>,
    /// The last vote saved before the segment began.
    pub vote: Option<Vote>,
    /// Where the log started when the segment began.
    pub start: LogStart,
}

/// What is wrong with a segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentHeaderError {
    /// It is cut short, not a segment header, or does not match its checksum.
    #[error("{0}")]
    Damaged(&'static str),
    /// Another disk format.
    #[error("format {0}")]
    Format(u8),
}

impl SegmentHeader {
    /// The header's bytes and its checksum, which begins the chain of the segment's frames and is their salt.
    #[must_use]
    pub fn encode(&self) -> (Bytes, u32) {
        let mut bytes = BytesMut::with_capacity(SEGMENT_HEADER_SIZE);
        bytes.put_slice(MAGIC);
        bytes.put_u8(FORMAT);
        bytes.put_u8(self.vote.map_or(0, |vote| 1 + u8::from(vote.committed)));
        bytes.put_bytes(0, 2);
        bytes.put_u64_le(self.number);
        bytes.put_u64_le(self.base_index);
        bytes.put_u64_le(self.replica);
        bytes.put_u64_le(self.base_offset);
        bytes.put_i64_le(self.base_time_ms);
        bytes.put_u64_le(self.previous.map_or(NONE, |previous| previous.number));
        bytes.put_u64_le(self.previous.map_or(0, |previous| previous.end));
        bytes.put_u64_le(self.vote.map_or(0, |vote| vote.term));
        bytes.put_u64_le(self.vote.map_or(0, |vote| vote.voted_for));
        bytes.put_u64_le(self.start.index);
        bytes.put_u64_le(self.start.term);
        bytes.put_u64_le(self.start.offset);
        bytes.put_u128_le(self.owner);
        bytes.put_u32_le(self.previous.map_or(0, |previous| previous.checksum));
        let checksum = crc32c::crc32c(&bytes);
        bytes.put_u32_le(checksum);
        (bytes.freeze(), checksum)
    }

    /// The header without its vote, and with this checksum. A header read back is the same but for the vote.
    pub(crate) fn encode_with_checksum(&self, checksum: u32) -> Bytes {
        let (bytes, _) = Self { vote: None, ..*self }.encode();
        let mut bytes = BytesMut::from(&bytes[..]);
        let field = correction(checksum, |field| {
            let with_field = crc32c::crc32c_append(crc32c::crc32c(&bytes[..VOTE_TERM_AT]), &field.to_le_bytes());
            crc32c::crc32c_append(with_field, &bytes[VOTE_TERM_AT + 4..CHECKSUM_AT])
        });
        bytes[VOTE_TERM_AT..VOTE_TERM_AT + 4].copy_from_slice(&field.to_le_bytes());
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        bytes.freeze()
    }

    /// Decodes the header at the start of `bytes` and returns it with its checksum.
    ///
    /// # Errors
    /// See [`SegmentHeaderError`]. The format is looked at first: that of another one may be shorter.
    pub fn decode(bytes: &[u8]) -> Result<(Self, u32), SegmentHeaderError> {
        if bytes.len() < 5 || &bytes[..4] != MAGIC {
            return Err(SegmentHeaderError::Damaged("not a segment"));
        }
        if bytes[4] != FORMAT {
            return Err(SegmentHeaderError::Format(bytes[4]));
        }
        let Some(bytes) = bytes.first_chunk::<SEGMENT_HEADER_SIZE>() else {
            return Err(SegmentHeaderError::Damaged("cut short"));
        };
        let checksum = crc32c::crc32c(&bytes[..CHECKSUM_AT]);
        if checksum != u32_at(bytes, CHECKSUM_AT) {
            return Err(SegmentHeaderError::Damaged("the checksum does not match"));
        }
        if bytes[5] > 2 {
            return Err(SegmentHeaderError::Damaged("its vote is neither given nor committed"));
        }
        let previous =
            PreviousSegment { number: u64_at(bytes, 48), end: u64_at(bytes, 56), checksum: u32_at(bytes, 120) };
        let vote = Vote { term: u64_at(bytes, 64), voted_for: u64_at(bytes, 72), committed: bytes[5] == 2 };
        let header = Self {
            number: u64_at(bytes, 8),
            base_index: u64_at(bytes, 16),
            replica: u64_at(bytes, 24),
            owner: u128::from(u64_at(bytes, 104)) | u128::from(u64_at(bytes, 112)) << 64,
            base_offset: u64_at(bytes, 32),
            base_time_ms: u64_at(bytes, 40).cast_signed(),
            previous: (previous.number != NONE).then_some(previous),
            vote: (bytes[5] != 0).then_some(vote),
            start: LogStart { index: u64_at(bytes, 80), term: u64_at(bytes, 88), offset: u64_at(bytes, 96) },
        };
        let values = [header.number, header.base_index, header.base_offset, header.start.index, header.start.offset];
        if values.into_iter().any(|value| value > VALUE_MAX) {
            return Err(SegmentHeaderError::Damaged("a value is out of range"));
        }
        if header.previous.is_some_and(|previous| previous.number >= header.number || previous.end > VALUE_MAX) {
            return Err(SegmentHeaderError::Damaged("its predecessor does not come before it"));
        }
        Ok((header, checksum))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_header_rebuilt_for_a_checksum_is_read_back_without_its_vote() {
        let previous = PreviousSegment { number: 3, end: 4_096, checksum: 77 };
        let header = SegmentHeader {
            number: 4,
            base_index: 9,
            replica: 7,
            owner: 1 << 100,
            base_offset: 18,
            base_time_ms: 1_009,
            previous: Some(previous),
            vote: Some(Vote { term: 5, voted_for: 6, committed: true }),
            start: LogStart::default(),
        };
        for checksum in [0, header.encode().1, 0xdead_beef] {
            let rebuilt = header.encode_with_checksum(checksum);
            assert_eq!(rebuilt.len(), SEGMENT_HEADER_SIZE);
            assert_eq!(SegmentHeader::decode(&rebuilt).unwrap(), (SegmentHeader { vote: None, ..header }, checksum));
        }
    }
}
