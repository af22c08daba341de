//! The frame: one log entry or one vote, on disk and on the wire. All integers are little-endian.
//!
//! ```text
//!  0  magic u16 = "FQ"     2  format u8      3  kind u8        4  flags u16       6  reserved u16
//!  8  payload bytes u32   12  payload checksum u32 (CRC-32C; 0 for a batch, which carries its own)
//! 16  term u64            24  log index u64 (of a vote: the next entry's)         32  leader time i64, ms
//! 40  expected end offset u64 (all ones: none)
//! 48  durable through u64: greatest log index known to be on stable storage when this was written (all ones: none)
//! 56  durable position u64: bytes of this segment known to be on stable storage when this was written
//! 64  reserved [u8; 16], zero
//! 80  checksum of the previous frame's header (of the segment header for the first)
//! 84  checksum u32: CRC-32C of bytes 0 to 83 and, for a batch, of its 61-byte header, so that a recovery
//!    may trust the header of a batch without reading the records
//! 88  payload, on disk zero-padded to a multiple of 8
//! ```
//! Flags: 1 the batch was rejected when the log order was fixed (a duplicate, say) and holds no offsets. That flag,
//! both durable marks and the checksum chain are local to a replica: on the wire they are 0 (none).

use bytes::{BufMut, BytesMut};
use quorate_record::BatchHeader;

use crate::FrameError;

/// Bytes of a frame header.
pub const FRAME_HEADER_SIZE: usize = 88;
/// Bytes of a frame header and the header of the batch behind it: what a walk over the frames needs of each.
pub(crate) const BATCH_FRAME_SIZE_MIN: usize = FRAME_HEADER_SIZE + quorate_record::HEADER_SIZE;
/// Frames start at multiples of this many bytes within a segment.
pub(crate) const ALIGNMENT: u64 = 8;
/// The disk and wire format this build writes and reads.
pub(crate) const FORMAT: u8 = 0;

const MAGIC: u16 = u16::from_le_bytes(*b"FQ");
const FLAG_REJECTED: u16 = 1;
const NONE: u64 = u64::MAX;
const CHECKSUM_AT: usize = 84;
const RESERVED_SIZE: usize = 16;

const _: () = assert!(FRAME_HEADER_SIZE == CHECKSUM_AT + 4);
const _: () = assert!((FRAME_HEADER_SIZE as u64).is_multiple_of(ALIGNMENT));

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// A record batch.
    Batch = 1,
    /// A change of the group's membership.
    Membership = 2,
    /// Nothing; a new leader's first entry.
    Blank = 3,
    /// Moves the log start offset.
    Trim = 4,
    /// Removes idle producers from the producer table.
    ProducerExpiry = 5,
    /// A vote. Not an entry: it has no log index of its own.
    Vote = 6,
    /// A command of the metadata group or of a coordinator group.
    Command = 7,
}

impl FrameKind {
    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Batch,
            2 => Self::Membership,
            3 => Self::Blank,
            4 => Self::Trim,
            5 => Self::ProducerExpiry,
            6 => Self::Vote,
            7 => Self::Command,
            _ => return None,
        })
    }

    /// Whether frames of this kind take a log index.
    #[must_use]
    pub fn is_entry(self) -> bool {
        self != Self::Vote
    }
}

/// A frame header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame holds.
    pub kind: FrameKind,
    /// Whether the batch was rejected (see the module).
    pub rejected: bool,
    /// Bytes of the payload.
    pub payload_bytes: u32,
    /// CRC-32C of the payload; 0 for a batch.
    pub payload_checksum: u32,
    /// The term.
    pub term: u64,
    /// The log index; of a vote, that of the next entry.
    pub index: u64,
    /// The leader's clock when it proposed the entry, milliseconds since 1970; 0 if it gave none.
    pub leader_time_ms: i64,
    /// The end offset the append is conditional on.
    pub expected_end_offset: Option<u64>,
    /// See the module.
    pub durable_through: Option<u64>,
    /// See the module.
    pub durable_position: u64,
    /// See the module.
    pub previous_checksum: u32,
    /// The header's own checksum.
    pub checksum: u32,
}

impl FrameHeader {
    /// Appends the header's 88 bytes to `buffer` and returns its checksum. `batch_header` is the stamped header of a
    /// batch, empty for other kinds. The `checksum` field is ignored.
    pub fn encode(&self, batch_header: &[u8], buffer: &mut BytesMut) -> u32 {
        let start = buffer.len();
        buffer.put_u16_le(MAGIC);
        buffer.put_u8(FORMAT);
        buffer.put_u8(self.kind as u8);
        buffer.put_u16_le(if self.rejected { FLAG_REJECTED } else { 0 });
        buffer.put_u16_le(0);
        buffer.put_u32_le(self.payload_bytes);
        buffer.put_u32_le(self.payload_checksum);
        buffer.put_u64_le(self.term);
        buffer.put_u64_le(self.index);
        buffer.put_i64_le(self.leader_time_ms);
        buffer.put_u64_le(self.expected_end_offset.unwrap_or(NONE));
        buffer.put_u64_le(self.durable_through.unwrap_or(NONE));
        buffer.put_u64_le(self.durable_position);
        buffer.put_bytes(0, RESERVED_SIZE);
        buffer.put_u32_le(self.previous_checksum);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&buffer[start..]), batch_header);
        buffer.put_u32_le(checksum);
        checksum
    }

    /// Decodes the header at the start of `bytes`, which for a batch must go on to the end of the batch header:
    /// the checksum covers the header of the batch too.
    ///
    /// # Errors
    /// See [`FrameError`]; the payload itself is not looked at.
    pub fn decode(bytes: &[u8], payload_bytes_max: u64) -> Result<Self, FrameError> {
        let Some(head) = bytes.first_chunk::<FRAME_HEADER_SIZE>() else {
            return Err(FrameError::Short { expected: FRAME_HEADER_SIZE as u64, found: bytes.len() as u64 });
        };
        let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let some = |value: u64| (value != NONE).then_some(value);
        if u16_at(0) != MAGIC {
            return Err(FrameError::Magic(u16_at(0)));
        }
        if head[2] != FORMAT {
            return Err(FrameError::Format(head[2]));
        }
        let kind = FrameKind::from_code(head[3]).ok_or(FrameError::Kind(head[3]))?;
        let payload_bytes = u32_at(8);
        let batch_header = match kind {
            FrameKind::Batch => bytes
                .get(FRAME_HEADER_SIZE..BATCH_FRAME_SIZE_MIN)
                .ok_or(FrameError::Short { expected: BATCH_FRAME_SIZE_MIN as u64, found: bytes.len() as u64 })?,
            _ => &[],
        };
        let computed = crc32c::crc32c_append(crc32c::crc32c(&head[..CHECKSUM_AT]), batch_header);
        let found = u32_at(CHECKSUM_AT);
        if found != computed {
            return Err(FrameError::HeaderChecksum { found, computed });
        }
        if u64::from(payload_bytes) > payload_bytes_max {
            return Err(FrameError::TooLong { found: payload_bytes.into(), max: payload_bytes_max });
        }
        if kind == FrameKind::Batch && (payload_bytes as usize) < quorate_record::HEADER_SIZE {
            return Err(FrameError::Payload(kind));
        }
        Ok(Self {
            kind,
            rejected: u16_at(4) & FLAG_REJECTED != 0,
            payload_bytes,
            payload_checksum: u32_at(12),
            term: u64_at(16),
            index: u64_at(24),
            leader_time_ms: u64_at(32).cast_signed(),
            expected_end_offset: some(u64_at(40)),
            durable_through: some(u64_at(48)),
            durable_position: u64_at(56),
            previous_checksum: u32_at(80),
            checksum: found,
        })
    }

    /// Checks the payload: a batch by its own size and CRC, anything else by the header's.
    ///
    /// # Errors
    /// [`FrameError::PayloadChecksum`].
    pub fn verify_payload(&self, payload: &[u8]) -> Result<(), FrameError> {
        let sound = match self.kind {
            FrameKind::Batch => {
                BatchHeader::parse(payload).is_ok_and(|batch| batch.total_size() == payload.len())
                    && quorate_record::verify_crc(payload).is_ok()
            }
            _ => crc32c::crc32c(payload) == self.payload_checksum,
        };
        if sound { Ok(()) } else { Err(FrameError::PayloadChecksum) }
    }

    /// Bytes of the whole frame on disk, padding included.
    #[must_use]
    pub fn disk_size(&self) -> u64 {
        (FRAME_HEADER_SIZE as u64 + u64::from(self.payload_bytes)).next_multiple_of(ALIGNMENT)
    }
}
