//! The frame: one log entry or one vote, on disk and on the wire. All integers are little-endian.
//!
//! ```text
//!  0  magic u16 = "FQ"     2  format u8      3  kind u8        4  flags u16       6  reserved u16
//!  8  payload bytes u32   12  payload checksum u32 (CRC-32C; 0 for a batch, which carries its own)
//! 16  term u64            24  log index u64 (of a vote: the next entry's)         32  leader time i64, ms
//! 40  expected end offset u64 (all ones: none)
//! 48  durable through u64: greatest log index known to be on stable storage when this was written (all ones: none)
//! 56  durable position u64: bytes of this segment known to be on stable storage when this was written
//! 64  checksum of the previous frame's header (of the segment header for the first)
//! 68  checksum u32: CRC-32C of bytes 0 to 67 and, for a batch, of the 21 bytes of it that its own CRC leaves out
//! 72  payload, on disk zero-padded to a multiple of 8
//! ```
//! Flags: 1 the batch was rejected when the log order was fixed (a duplicate, say) and holds no offsets. That flag,
//! both durable marks and the checksum chain are local to a replica: on the wire they are 0 (none).

use bytes::{BufMut, Bytes, BytesMut};
use quorate_record::UNPROTECTED_SIZE;

/// Bytes of a frame header.
pub const FRAME_HEADER_SIZE: usize = 72;
/// Frames start at multiples of this many bytes within a segment.
pub(crate) const ALIGNMENT: u64 = 8;
/// The disk and wire format this build writes and reads.
pub(crate) const FORMAT: u8 = 0;

const MAGIC: u16 = u16::from_le_bytes(*b"FQ");
const FLAG_REJECTED: u16 = 1;
const NONE: u64 = u64::MAX;
const CHECKSUM_AT: usize = 68;

const _: () = assert!(FRAME_HEADER_SIZE == CHECKSUM_AT + 4 && (FRAME_HEADER_SIZE as u64).is_multiple_of(ALIGNMENT));

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

/// What is wrong with bytes that should be a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than the frame needs.
    #[error("cut short: {found} of {expected} bytes")]
    Short {
        /// Bytes needed.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// No frame starts here.
    #[error("not a frame (magic {0:#06x})")]
    Magic(u16),
    /// Another format.
    #[error("format {0} is not supported")]
    Format(u8),
    /// A kind this build does not know.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// The header does not match its checksum.
    #[error("header checksum {found:#010x}, computed {computed:#010x}")]
    HeaderChecksum {
        /// As stored.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// The payload does not match its checksum.
    #[error("the payload does not match its checksum")]
    PayloadChecksum,
    /// The payload is longer than allowed.
    #[error("payload of {found} bytes, at most {max} allowed")]
    TooLong {
        /// Bytes claimed.
        found: u64,
        /// The bound.
        max: u64,
    },
    /// The previous frame is another one.
    #[error("the checksum chain is broken")]
    Chain,
    /// The log index is not the next one.
    #[error("log index {found}, expected {expected}")]
    Index {
        /// The next one.
        expected: u64,
        /// As stored.
        found: u64,
    },
    /// A frame of this kind does not hold what it must.
    #[error("malformed payload of a {0:?} frame")]
    Payload(FrameKind),
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
    /// Appends the header's 72 bytes to `buffer` and returns its checksum. `unprotected` is the start of a batch that
    /// its own CRC leaves out, empty for other kinds. The `checksum` field is ignored.
    pub fn encode(&self, unprotected: &[u8], buffer: &mut BytesMut) -> u32 {
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
        buffer.put_u32_le(self.previous_checksum);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&buffer[start..]), unprotected);
        buffer.put_u32_le(checksum);
        checksum
    }

    /// Decodes the header at the start of `bytes`, which should go on into the payload: the checksum of a batch
    /// covers the payload's first bytes.
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
        let unprotected = match kind {
            FrameKind::Batch => bytes.get(FRAME_HEADER_SIZE..FRAME_HEADER_SIZE + UNPROTECTED_SIZE).ok_or(
                FrameError::Short {
                    expected: (FRAME_HEADER_SIZE + UNPROTECTED_SIZE) as u64,
                    found: bytes.len() as u64,
                },
            )?,
            _ => &[],
        };
        let computed = crc32c::crc32c_append(crc32c::crc32c(&head[..CHECKSUM_AT]), unprotected);
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
            previous_checksum: u32_at(64),
            checksum: found,
        })
    }

    /// Checks the payload: a batch by its own CRC, anything else by the header's.
    ///
    /// # Errors
    /// [`FrameError::PayloadChecksum`].
    pub fn verify_payload(&self, payload: &[u8]) -> Result<(), FrameError> {
        let sound = match self.kind {
            FrameKind::Batch => quorate_record::verify_crc(payload).is_ok(),
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

/// What fixing the log order gave a batch: written into the bytes its CRC leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The offset of its first record.
    pub base_offset: u64,
    /// The term in which it was appended, cut to what the field holds.
    pub leader_epoch: i32,
}

/// A log entry in memory. The payload is shared, never copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it holds; never [`FrameKind::Vote`].
    pub kind: FrameKind,
    /// The term.
    pub term: u64,
    /// The log index.
    pub index: u64,
    /// The leader's clock when it proposed the entry, milliseconds since 1970; 0 if it gave none.
    pub leader_time_ms: i64,
    /// The end offset the append is conditional on.
    pub expected_end_offset: Option<u64>,
    /// The payload. The stamped bytes of a batch in it may be those of another time or replica: see `stamp`.
    pub payload: Bytes,
    /// Base offset and leader epoch of a batch; `None` for other kinds and for a batch that was rejected.
    pub stamp: Option<Stamp>,
    /// The partition's end offset after this entry.
    pub next_offset: u64,
}

impl Frame {
    /// The first bytes of the payload of a batch with the stamp in place, empty for other kinds. The payload goes on
    /// at `UNPROTECTED_SIZE`.
    fn unprotected(&self) -> Option<[u8; UNPROTECTED_SIZE]> {
        if self.kind != FrameKind::Batch {
            return None;
        }
        let (base_offset, leader_epoch) =
            self.stamp.map_or((-1, -1), |stamp| (stamp.base_offset.cast_signed(), stamp.leader_epoch));
        Some(quorate_record::stamp(&self.payload, base_offset, leader_epoch))
    }

    fn header(&self) -> FrameHeader {
        FrameHeader {
            kind: self.kind,
            rejected: self.kind == FrameKind::Batch && self.stamp.is_none(),
            payload_bytes: u32::try_from(self.payload.len()).unwrap_or(u32::MAX),
            payload_checksum: if self.kind == FrameKind::Batch { 0 } else { crc32c::crc32c(&self.payload) },
            term: self.term,
            index: self.index,
            leader_time_ms: self.leader_time_ms,
            expected_end_offset: self.expected_end_offset,
            durable_through: None,
            durable_position: 0,
            previous_checksum: 0,
            checksum: 0,
        }
    }

    /// Appends the parts of this frame as the disk holds it and returns the header's checksum.
    pub(crate) fn encode_for_disk(
        &self,
        durable_through: Option<u64>,
        durable_position: u64,
        previous_checksum: u32,
        heads: &mut BytesMut,
        parts: &mut Vec<Bytes>,
    ) -> u32 {
        let header = FrameHeader { durable_through, durable_position, previous_checksum, ..self.header() };
        let checksum = self.encode(&header, self.unprotected(), heads, parts);
        let padding = self.disk_size() as usize - FRAME_HEADER_SIZE - self.payload.len();
        if padding > 0 {
            parts.push(Bytes::from_static(&[0; ALIGNMENT as usize]).slice(..padding));
        }
        checksum
    }

    /// Appends the parts of this frame as the wire carries it: without what is local to a replica. `heads` is
    /// scratch space for the small parts.
    pub fn encode_for_wire(&self, heads: &mut BytesMut, parts: &mut Vec<Bytes>) {
        let unprotected = (self.kind == FrameKind::Batch).then(|| quorate_record::stamp(&self.payload, 0, -1));
        self.encode(&FrameHeader { rejected: false, ..self.header() }, unprotected, heads, parts);
    }

    fn encode(
        &self,
        header: &FrameHeader,
        unprotected: Option<[u8; UNPROTECTED_SIZE]>,
        heads: &mut BytesMut,
        parts: &mut Vec<Bytes>,
    ) -> u32 {
        let unprotected = unprotected.as_ref().map_or(&[][..], |bytes| &bytes[..]);
        let checksum = header.encode(unprotected, heads);
        heads.put_slice(unprotected);
        parts.push(heads.split().freeze());
        let rest = self.payload.slice(unprotected.len()..);
        if !rest.is_empty() {
            parts.push(rest);
        }
        checksum
    }

    /// Bytes of this frame on the wire.
    #[must_use]
    pub fn wire_size(&self) -> usize {
        FRAME_HEADER_SIZE + self.payload.len()
    }

    /// Takes one frame off the front of `bytes`, as [`Frame::encode_for_wire`] made it, checking header and payload.
    /// Stamp and next offset are not known yet.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn decode_from_wire(bytes: &mut Bytes, payload_bytes_max: u64) -> Result<Self, FrameError> {
        let header = FrameHeader::decode(bytes, payload_bytes_max)?;
        let size = FRAME_HEADER_SIZE + header.payload_bytes as usize;
        if bytes.len() < size {
            return Err(FrameError::Short { expected: size as u64, found: bytes.len() as u64 });
        }
        let payload = bytes.split_to(size).slice(FRAME_HEADER_SIZE..);
        header.verify_payload(&payload)?;
        if !header.kind.is_entry() {
            return Err(FrameError::Kind(header.kind as u8));
        }
        Ok(Self::from_parts(&header, payload, None, 0))
    }

    pub(crate) fn from_parts(header: &FrameHeader, payload: Bytes, stamp: Option<Stamp>, next_offset: u64) -> Self {
        Self {
            kind: header.kind,
            term: header.term,
            index: header.index,
            leader_time_ms: header.leader_time_ms,
            expected_end_offset: header.expected_end_offset,
            payload,
            stamp,
            next_offset,
        }
    }

    /// Bytes of this frame on disk.
    #[must_use]
    pub fn disk_size(&self) -> u64 {
        (self.wire_size() as u64).next_multiple_of(ALIGNMENT)
    }

    /// The batch with its stamp in place as two slices to be sent one after the other; `None` if this is not an
    /// accepted batch.
    #[must_use]
    pub fn stamped_batch(&self) -> Option<([u8; UNPROTECTED_SIZE], Bytes)> {
        self.stamp?;
        Some((self.unprotected()?, self.payload.slice(UNPROTECTED_SIZE..)))
    }
}

/// A vote as the log keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The term voted in.
    pub term: u64,
    /// The replica voted for.
    pub voted_for: u64,
    /// Whether a majority granted it: the replica is the leader of the term.
    pub committed: bool,
}

/// Bytes of a vote's payload.
const VOTE_SIZE: usize = 24;

impl Vote {
    /// The vote as a whole frame on disk; returns its bytes and the header's checksum.
    pub(crate) fn encode_for_disk(
        &self,
        next_index: u64,
        durable_through: Option<u64>,
        durable_position: u64,
        previous_checksum: u32,
    ) -> (Bytes, u32) {
        let mut payload = [0; VOTE_SIZE];
        payload[..8].copy_from_slice(&self.term.to_le_bytes());
        payload[8..16].copy_from_slice(&self.voted_for.to_le_bytes());
        payload[16] = self.committed.into();
        let header = FrameHeader {
            kind: FrameKind::Vote,
            rejected: false,
            payload_bytes: VOTE_SIZE as u32,
            payload_checksum: crc32c::crc32c(&payload),
            term: self.term,
            index: next_index,
            leader_time_ms: 0,
            expected_end_offset: None,
            durable_through,
            durable_position,
            previous_checksum,
            checksum: 0,
        };
        let mut bytes = BytesMut::with_capacity(FRAME_HEADER_SIZE + VOTE_SIZE);
        let checksum = header.encode(&[], &mut bytes);
        bytes.put_slice(&payload);
        (bytes.freeze(), checksum)
    }

    /// Decodes a vote's payload.
    ///
    /// # Errors
    /// [`FrameError::Payload`].
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, FrameError> {
        let bytes: &[u8; VOTE_SIZE] = payload.try_into().map_err(|_| FrameError::Payload(FrameKind::Vote))?;
        let u64_at = |at: usize| bytes[at..at + 8].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        Ok(Self { term: u64_at(0), voted_for: u64_at(8), committed: bytes[16] != 0 })
    }
}
