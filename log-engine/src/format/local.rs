//! The vote of a replica: a frame of the log like its entries, so that the two cannot be reordered.
//!
//! ```text
//!  0  term u64    8  voted for u64    16  committed u8    17  reserved [u8; 7]
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use crate::{FRAME_HEADER_SIZE, FrameError, FrameHeader, FrameKind, frame_header::ALIGNMENT};

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

const _: () = assert!((VOTE_SIZE as u64).is_multiple_of(ALIGNMENT), "a vote needs no padding");

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
