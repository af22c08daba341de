//! A log entry in memory, and its bytes on disk and on the wire.

use bytes::{BufMut, Bytes, BytesMut};
use quorate_record::UNPROTECTED_SIZE;

use crate::{
    FRAME_HEADER_SIZE, FrameError, FrameHeader, FrameKind,
    format::{ALIGNMENT, Place},
};

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
    /// What it holds: an entry, never a local frame.
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

    pub(crate) fn header(&self) -> FrameHeader {
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
    pub(crate) fn encode_for_disk(&self, place: Place, heads: &mut BytesMut, parts: &mut Vec<Bytes>) -> u32 {
        let checksum = self.encode(&self.header(), self.unprotected(), place, heads, parts);
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
        let header = FrameHeader { rejected: false, ..self.header() };
        self.encode(&header, unprotected, Place::default(), heads, parts);
    }

    fn encode(
        &self,
        header: &FrameHeader,
        unprotected: Option<[u8; UNPROTECTED_SIZE]>,
        place: Place,
        heads: &mut BytesMut,
        parts: &mut Vec<Bytes>,
    ) -> u32 {
        let mut stamped = [0; quorate_record::HEADER_SIZE];
        let batch_header = match unprotected {
            Some(unprotected) => {
                stamped.copy_from_slice(&self.payload[..quorate_record::HEADER_SIZE]);
                stamped[..UNPROTECTED_SIZE].copy_from_slice(&unprotected);
                &stamped[..]
            }
            None => &[],
        };
        let checksum = header.encode_at(place, batch_header, heads);
        heads.put_slice(batch_header);
        parts.push(heads.split().freeze());
        let rest = self.payload.slice(batch_header.len()..);
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
        let header = FrameHeader::decode(bytes, 0, payload_bytes_max)?;
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
