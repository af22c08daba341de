//! The frame: one log entry, one vote or one log start, on disk and on the wire.
//!
//! ```text
//!  0  magic u16 = "FQ"     2  format u8      3  kind u8        4  flags u16       6  reserved u16
//!  8  payload bytes u32   12  payload checksum u32 (CRC-32C; 0 for a batch, which carries its own)
//! 16  term u64            24  log index u64 (of a local frame: the next entry's)  32  leader time i64, ms
//! 40  expected end offset u64 (all ones: none)
//! 48  durable through u64: greatest log index known to be on stable storage when this was written (all ones: none)
//! 56  durable position u64: bytes of this segment known to be on stable storage when this was written
//! 64  reserved [u8; 16], zero; of a frame that a repair has rebuilt, the first 4 may hold what gives the header the
//!    checksum that the next one names. Ignored.
//! 80  checksum of the previous frame's header (of the segment header for the first)
//! 84  checksum u32: CRC-32C of the salt, bytes 0 to 83 and, for a batch, its 61-byte header, so that a recovery
//!    may trust the header of a batch without reading the records
//! 88  payload, on disk zero-padded to a multiple of 8
//! ```
//! Flags: 1 the batch was rejected when the log order was fixed (a duplicate, say) and holds no offsets. That flag,
//! both durable marks, the checksum chain and the salt are local to a replica: on the wire they are 0 (none).

use bytes::{BufMut, BytesMut};
use quorate_record::BatchHeader;

use super::{
    ALIGNMENT, FORMAT, FrameError, NONE,
    bytes_at::{u16_at, u32_at, u64_at},
    correction::correction,
};

/// Bytes of a frame header.
pub const FRAME_HEADER_SIZE: usize = 88;
/// Bytes of a frame header and the header of the batch behind it: what a walk over the frames needs of each.
pub(crate) const BATCH_FRAME_SIZE_MIN: usize = FRAME_HEADER_SIZE + quorate_record::HEADER_SIZE;

const MAGIC: u16 = u16::from_le_bytes(*b"FQ");
const FLAG_REJECTED: u16 = 1;
const CHECKSUM_AT: usize = 84;
const CORRECTION_AT: usize = 64;
const RESERVED_SIZE: usize = 16;

const _: () = assert!(FRAME_HEADER_SIZE == CHECKSUM_AT + 4);
const _: () = assert!((FRAME_HEADER_SIZE as u64).is_multiple_of(ALIGNMENT));

fn checksum_of(salt: u32, fields: &[u8], batch_header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(salt, fields), batch_header)
}

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
    /// Where the log starts since entries were trimmed away. Not an entry.
    Start = 8,
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
            8 => Self::Start,
            _ => return None,
        })
    }

    /// Whether frames of this kind take a log index.
    #[must_use]
    pub fn is_entry(self) -> bool {
        !matches!(self, Self::Vote | Self::Start)
    }
}

/// What is known to be on stable storage when a frame is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DurableMark {
    /// The greatest log index.
    pub(crate) through: Option<u64>,
    /// Bytes of the frame's segment.
    pub(crate) position: u64,
}

/// What ties a frame to its place in a segment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    /// The checksum of the segment's header.
    pub(crate) salt: u32,
    /// The checksum of the frame header before.
    pub(crate) previous_checksum: u32,
    pub(crate) mark: DurableMark,
    /// The checksum that the header must have, if what comes behind it names one already.
    pub(crate) checksum: Option<u32>,
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
    /// The log index; of a local frame, that of the next entry.
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
    /// Appends the header's 88 bytes to `buffer` and returns its checksum. `salt` is the checksum of the segment's
    /// header, 0 on the wire; `batch_header` is the stamped header of a batch, empty for other kinds. The `checksum`
    /// field is ignored.
    pub fn encode(&self, salt: u32, batch_header: &[u8], buffer: &mut BytesMut) -> u32 {
        let start = buffer.len();
        self.put_fields(buffer);
        let checksum = checksum_of(salt, &buffer[start..], batch_header);
        buffer.put_u32_le(checksum);
        checksum
    }

    /// [`FrameHeader::encode`] at a place, which says all that is local to a replica. Returns the header's checksum.
    pub(crate) fn encode_at(&self, place: Place, batch_header: &[u8], buffer: &mut BytesMut) -> u32 {
        let Place { salt, previous_checksum, mark, checksum } = place;
        let (durable_through, durable_position) = (mark.through, mark.position);
        let header = Self { durable_through, durable_position, previous_checksum, ..*self };
        let Some(checksum) = checksum else { return header.encode(salt, batch_header, buffer) };
        header.encode_with_checksum(salt, batch_header, checksum, buffer);
        checksum
    }

    fn encode_with_checksum(&self, salt: u32, batch_header: &[u8], checksum: u32, buffer: &mut BytesMut) {
        let start = buffer.len();
        self.put_fields(buffer);
        let fields = &mut buffer[start..];
        let field = correction(checksum, |field| {
            let (before, rest) = fields.split_at(CORRECTION_AT);
            let with_field = crc32c::crc32c_append(crc32c::crc32c_append(salt, before), &field.to_le_bytes());
            checksum_of(with_field, &rest[4..], batch_header)
        });
        fields[CORRECTION_AT..CORRECTION_AT + 4].copy_from_slice(&field.to_le_bytes());
        buffer.put_u32_le(checksum);
    }

    /// Appends all before the checksum.
    fn put_fields(&self, buffer: &mut BytesMut) {
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
    }

    /// Decodes the header at the start of `bytes`, which for a batch must go on to the end of the batch header:
    /// the checksum covers the header of the batch too. `salt` is as in [`FrameHeader::encode`].
    ///
    /// # Errors
    /// See [`FrameError`]; the payload itself is not looked at.
    pub fn decode(bytes: &[u8], salt: u32, payload_bytes_max: u64) -> Result<Self, FrameError> {
        let Some(head) = bytes.first_chunk::<FRAME_HEADER_SIZE>() else {
            return Err(FrameError::Short { expected: FRAME_HEADER_SIZE as u64, found: bytes.len() as u64 });
        };
        let some = |value: u64| (value != NONE).then_some(value);
        if u16_at(head, 0) != MAGIC {
            return Err(FrameError::Magic(u16_at(head, 0)));
        }
        if head[2] != FORMAT {
            return Err(FrameError::Format(head[2]));
        }
        let kind = FrameKind::from_code(head[3]).ok_or(FrameError::Kind(head[3]))?;
        let payload_bytes = u32_at(head, 8);
        let batch_header = match kind {
            FrameKind::Batch => bytes
                .get(FRAME_HEADER_SIZE..BATCH_FRAME_SIZE_MIN)
                .ok_or(FrameError::Short { expected: BATCH_FRAME_SIZE_MIN as u64, found: bytes.len() as u64 })?,
            _ => &[],
        };
        let computed = checksum_of(salt, &head[..CHECKSUM_AT], batch_header);
        let found = u32_at(head, CHECKSUM_AT);
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
            rejected: u16_at(head, 4) & FLAG_REJECTED != 0,
            payload_bytes,
            payload_checksum: u32_at(head, 12),
            term: u64_at(head, 16),
            index: u64_at(head, 24),
            leader_time_ms: u64_at(head, 32).cast_signed(),
            expected_end_offset: some(u64_at(head, 40)),
            durable_through: some(u64_at(head, 48)),
            durable_position: u64_at(head, 56),
            previous_checksum: u32_at(head, 80),
            checksum: found,
        })
    }

    /// The format of a frame header that fits its checksum and yet says nothing to this build, since its format or its
    /// kind is unknown; `None` if it is no such header. `bytes` and `salt` are as in [`FrameHeader::decode`].
    pub(crate) fn foreign(bytes: &[u8], salt: u32) -> Option<u8> {
        let head = bytes.first_chunk::<FRAME_HEADER_SIZE>()?;
        if u16_at(head, 0) != MAGIC || (head[2] == FORMAT && FrameKind::from_code(head[3]).is_some()) {
            return None;
        }
        // Whether the checksum covers what follows, only those know who know the kind.
        let alone = crc32c::crc32c_append(salt, &head[..CHECKSUM_AT]);
        let with_more =
            bytes.get(FRAME_HEADER_SIZE..BATCH_FRAME_SIZE_MIN).map(|more| crc32c::crc32c_append(alone, more));
        let found = u32_at(head, CHECKSUM_AT);
        (found == alone || Some(found) == with_more).then_some(head[2])
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use bytes::Bytes;
    use quorate_record::{BatchBuilder, Compression, ProducerStamp, Record};

    use super::*;
    use crate::{Frame, Stamp};

    /// An entry's bytes at a place, and its header.
    fn encoded(kind: FrameKind, place: Place) -> (Vec<u8>, FrameHeader) {
        let payload = if kind == FrameKind::Batch {
            let mut builder = BatchBuilder::new(Compression::None);
            builder.push(&Record::new("value", 7));
            builder.build(ProducerStamp::NONE).unwrap()
        } else {
            Bytes::from_static(b"a command")
        };
        let stamp = (kind == FrameKind::Batch).then_some(Stamp { base_offset: 5, leader_epoch: 2 });
        let frame = Frame {
            kind,
            term: 2,
            index: 3,
            leader_time_ms: 4,
            expected_end_offset: None,
            payload,
            stamp,
            next_offset: 6,
        };
        let mut parts = Vec::new();
        let checksum = frame.encode_for_disk(place, &mut BytesMut::new(), &mut parts);
        let bytes = parts.concat();
        let header = FrameHeader::decode(&bytes, place.salt, 1 << 20).unwrap();
        assert_eq!(header.checksum, checksum);
        (bytes, header)
    }

    #[test]
    fn a_frame_made_for_a_checksum_differs_in_that_and_in_reserved_bytes_alone() {
        let mark = DurableMark { through: Some(1), position: 128 };
        let place = Place { salt: 0x1234, previous_checksum: 0x5678, mark, checksum: None };
        for kind in [FrameKind::Batch, FrameKind::Command] {
            let (free, free_header) = encoded(kind, place);
            for checksum in [0, 1, 0xdead_beef, u32::MAX] {
                let (bound, header) = encoded(kind, Place { checksum: Some(checksum), ..place });
                assert_eq!(header, FrameHeader { checksum, ..free_header });
                let differs = |at: &usize| free[*at] != bound[*at];
                let corrected = CORRECTION_AT..CORRECTION_AT + 4;
                assert!((0..free.len()).filter(differs).all(|at| corrected.contains(&at) || (84..88).contains(&at)));
            }
            let (bound, _) = encoded(kind, Place { checksum: Some(free_header.checksum), ..place });
            assert_eq!(bound, free, "the checksum it has anyway takes no correction");
        }
    }
}
