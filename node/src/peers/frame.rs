//! Frames of a lane: a prefix and a body. Little-endian.
//!
//! ```text
//!  0  body bytes u32   4  kind u8   5  group kind u8   6  reserved u16
//!  8  from replica u64   16  to replica u64   24  session u64
//! 32  CRC-32C u32 of the body   36  CRC-32C u32 of the prefix up to here
//! ```
//! What does not fit its checksum ends the lane: nothing behind it can be found any more.

use std::io::{self, IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use crc32c::{crc32c, crc32c_append};
use quorate_cluster_config::{GroupKind, ReplicaId, limits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const PREFIX: usize = 40;
/// Where the checksum of the prefix lies.
const CHECKSUM_AT: usize = 36;
/// Bodies up to this size are cut out of the read buffer; larger ones get memory of their own.
const SMALL: usize = 4 << 10;
/// Slices handed to one vectored write.
const SLICES_MAX: usize = 256;

/// What a frame of a lane says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneFrameKind {
    /// An AppendEntries request.
    Request = 1,
    /// The answer to the oldest request of the session without one.
    Answer = 2,
    /// The session is over: no further request, or no further answer, will come.
    End = 3,
}

/// Which session a frame belongs to. Sessions of one connection are numbered and never numbered alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    pub(crate) kind: GroupKind,
    pub(crate) from: ReplicaId,
    pub(crate) to: ReplicaId,
    pub(crate) number: u64,
}

#[derive(Debug)]
pub(crate) struct LaneFrame {
    pub(crate) kind: LaneFrameKind,
    pub(crate) session: SessionKey,
    pub(crate) body: Bytes,
}

fn group_code(kind: GroupKind) -> u8 {
    match kind {
        GroupKind::Metadata => 0,
        GroupKind::Partition => 1,
        GroupKind::Coordinator => 2,
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed frame from a peer: {what}"))
}

/// The prefix and the parts of a body, ready to be written.
pub(crate) fn encode(kind: LaneFrameKind, session: SessionKey, body: Vec<Bytes>) -> Vec<Bytes> {
    let size: usize = body.iter().map(Bytes::len).sum();
    let mut prefix = BytesMut::with_capacity(PREFIX);
    prefix.put_u32_le(u32::try_from(size).unwrap_or(u32::MAX));
    prefix.put_u8(kind as u8);
    prefix.put_u8(group_code(session.kind));
    prefix.put_u16_le(0);
    prefix.put_u64_le(session.from.0);
    prefix.put_u64_le(session.to.0);
    prefix.put_u64_le(session.number);
    prefix.put_u32_le(body.iter().fold(0, |checksum, part| crc32c_append(checksum, part)));
    prefix.put_u32_le(crc32c(&prefix));
    let mut parts = Vec::with_capacity(1 + body.len());
    parts.push(prefix.freeze());
    parts.extend(body.into_iter().filter(|part| !part.is_empty()));
    parts
}

/// Writes all parts with as few calls as possible.
pub(crate) async fn write_parts<W: AsyncWrite + Unpin>(writer: &mut W, mut parts: Vec<Bytes>) -> io::Result<()> {
    let mut first = 0;
    while first < parts.len() {
        let slices: Vec<IoSlice<'_>> = parts[first..].iter().take(SLICES_MAX).map(|part| IoSlice::new(part)).collect();
        let mut written = writer.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while first < parts.len() && written >= parts[first].len() {
            written -= parts[first].len();
            // Frees the memory of what is sent, however long the rest takes.
            parts[first] = Bytes::new();
            first += 1;
        }
        if written > 0 {
            parts[first].advance(written);
        }
    }
    Ok(())
}

/// Reads frames off a lane.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    reader: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, buffer: BytesMut::with_capacity(2 * SMALL) }
    }

    /// The next frame. Dropping the future while it waits for a small frame loses nothing.
    pub(crate) async fn next(&mut self) -> io::Result<LaneFrame> {
        self.fill(PREFIX).await?;
        if crc32c(&self.buffer[..CHECKSUM_AT]).to_le_bytes() != self.buffer[CHECKSUM_AT..PREFIX] {
            return Err(malformed("damaged on its way"));
        }
        let size = u32::from_le_bytes([self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]]) as usize;
        if size > limits::PEER_FRAME_BYTES_MAX {
            return Err(malformed("too long"));
        }
        if size <= SMALL {
            self.fill(PREFIX + size).await?;
        }
        let mut prefix = self.buffer.split_to(PREFIX);
        prefix.advance(4);
        let kind = match prefix.get_u8() {
            1 => LaneFrameKind::Request,
            2 => LaneFrameKind::Answer,
            3 => LaneFrameKind::End,
            _ => return Err(malformed("unknown kind")),
        };
        let group = match prefix.get_u8() {
            0 => GroupKind::Metadata,
            1 => GroupKind::Partition,
            2 => GroupKind::Coordinator,
            _ => return Err(malformed("unknown group kind")),
        };
        prefix.advance(2);
        let (from, to) = (ReplicaId(prefix.get_u64_le()), ReplicaId(prefix.get_u64_le()));
        let session = SessionKey { kind: group, from, to, number: prefix.get_u64_le() };
        let checksum = prefix.get_u32_le();
        let body = self.body(size).await?;
        if crc32c(&body) != checksum {
            return Err(malformed("damaged on its way"));
        }
        Ok(LaneFrame { kind, session, body })
    }

    async fn body(&mut self, size: usize) -> io::Result<Bytes> {
        if size <= self.buffer.len() {
            return Ok(self.buffer.split_to(size).freeze());
        }
        let mut body = BytesMut::with_capacity(size);
        let held = self.buffer.len().min(size);
        body.extend_from_slice(&self.buffer.split_to(held));
        while body.len() < size {
            let left = size - body.len();
            if self.reader.read_buf(&mut (&mut body).limit(left)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(body.freeze())
    }

    async fn fill(&mut self, size: usize) -> io::Result<()> {
        while self.buffer.len() < size {
            self.buffer.reserve(2 * SMALL);
            if self.reader.read_buf(&mut (&mut self.buffer).limit(2 * SMALL)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// Writes frames handed over by a channel until it closes or the stream breaks.
pub(crate) async fn write_all<W: AsyncWrite + Unpin>(writer: &mut W, parts: Vec<Bytes>) -> io::Result<()> {
    write_parts(writer, parts).await?;
    writer.flush().await
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn frame(body: Vec<Bytes>) -> Vec<u8> {
        let session = SessionKey { kind: GroupKind::Partition, from: ReplicaId(3), to: ReplicaId(4), number: 5 };
        encode(LaneFrameKind::Request, session, body).concat()
    }

    #[tokio::test]
    async fn frames_arrive_as_they_were_sent() {
        let bodies =
            [vec![], vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")], vec![vec![7; 3 * SMALL].into()]];
        let bytes = bodies.clone().map(frame).concat();
        let mut reader = FrameReader::new(&bytes[..]);
        for body in bodies {
            let read = reader.next().await.unwrap();
            assert_eq!(
                (read.kind, read.session.number, &read.body[..]),
                (LaneFrameKind::Request, 5, &body.concat()[..])
            );
        }
    }

    #[tokio::test]
    async fn whatever_bit_is_damaged_on_the_way_the_lane_ends() {
        for body in [vec![], vec![Bytes::from_static(b"some body"), Bytes::from_static(b"in parts")]] {
            let sound = frame(body);
            for bit in 0..sound.len() * 8 {
                let mut damaged = sound.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let error = FrameReader::new(&damaged[..]).next().await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "bit {bit}");
            }
        }
    }
}
