//! Local frames: what a replica writes into its log for itself. They share the log's one queue with the entries, so
//! that the two cannot be reordered, and hold no log index. The newest of each kind counts.
//!
//! ```text
//! vote:   0  term u64    8  voted for u64    16  committed u8    17  reserved [u8; 7]
//! start:  0  index u64   8  term u64         16  offset u64
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use super::{ALIGNMENT, FRAME_HEADER_SIZE, FrameError, FrameHeader, FrameKind, Place, bytes_at::u64_at};

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

/// Where a log starts: nothing before it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStart {
    /// The first log index kept, or to come.
    pub index: u64,
    /// The term of the entry before it; 0 if there never was one.
    pub term: u64,
    /// The partition's end offset before it.
    pub offset: u64,
}

/// Bytes of a local frame's payload.
const PAYLOAD_SIZE: usize = 24;

/// Bytes of a local frame.
pub(crate) const LOCAL_FRAME_SIZE: u64 = (FRAME_HEADER_SIZE + PAYLOAD_SIZE) as u64;

const _: () = assert!((PAYLOAD_SIZE as u64).is_multiple_of(ALIGNMENT), "local frames need no padding");

impl Vote {
    pub(crate) fn payload(&self) -> [u8; PAYLOAD_SIZE] {
        payload(self.term, self.voted_for, self.committed.into())
    }

    /// Decodes a vote's payload.
    ///
    /// # Errors
    /// [`FrameError::Payload`].
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, FrameError> {
        let bytes = sized(payload, FrameKind::Vote)?;
        if bytes[16] > 1 {
            return Err(FrameError::Payload(FrameKind::Vote));
        }
        Ok(Self { term: u64_at(bytes, 0), voted_for: u64_at(bytes, 8), committed: bytes[16] != 0 })
    }
}

impl LogStart {
    pub(crate) fn payload(&self) -> [u8; PAYLOAD_SIZE] {
        payload(self.index, self.term, self.offset)
    }

    /// Decodes a log start's payload.
    ///
    /// # Errors
    /// [`FrameError::Payload`].
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, FrameError> {
        let bytes = sized(payload, FrameKind::Start)?;
        Ok(Self { index: u64_at(bytes, 0), term: u64_at(bytes, 8), offset: u64_at(bytes, 16) })
    }
}

fn payload(first: u64, second: u64, third: u64) -> [u8; PAYLOAD_SIZE] {
    let mut payload = [0; PAYLOAD_SIZE];
    for (at, value) in [first, second, third].into_iter().enumerate() {
        payload[8 * at..8 * at + 8].copy_from_slice(&value.to_le_bytes());
    }
    payload
}

fn sized(payload: &[u8], kind: FrameKind) -> Result<&[u8; PAYLOAD_SIZE], FrameError> {
    payload.try_into().map_err(|_| FrameError::Payload(kind))
}

/// A local frame as a whole; returns its bytes and the header's checksum.
pub(crate) fn encode_local(
    kind: FrameKind,
    payload: [u8; PAYLOAD_SIZE],
    next_index: u64,
    place: Place,
) -> (Bytes, u32) {
    let header = FrameHeader {
        kind,
        rejected: false,
        payload_bytes: PAYLOAD_SIZE as u32,
        payload_checksum: crc32c::crc32c(&payload),
        term: 0,
        index: next_index,
        leader_time_ms: 0,
        expected_end_offset: None,
        durable_through: None,
        durable_position: 0,
        previous_checksum: 0,
        checksum: 0,
    };
    let mut bytes = BytesMut::with_capacity(FRAME_HEADER_SIZE + PAYLOAD_SIZE);
    let checksum = header.encode_at(place, &[], &mut bytes);
    bytes.put_slice(&payload);
    (bytes.freeze(), checksum)
}
