//! The transport of tarpc's messages by bincode, and beside them of the byte strings they own.
//!
//! ```text
//!  0  message bytes u32    4  payload bytes u32    8  CRC-32C of the message    12  CRC-32C of the payload
//! 16  CRC-32C of all before    20  the message   then the payload                                  (little-endian)
//! ```
//! The checksums of TCP let one in some millions of damaged segments pass. What does not fit its checksum ends the connection:
//! nothing behind it can be found any more.
//!
//! A payload is written from where it lies and read into memory of its own size: bincode does not see it, and nobody who
//! keeps it holds on to anything else. Only what was read ahead of it, 8 KiB at most, is copied.
//!
//! A connection that takes nothing of what is to be written for ten seconds is given up: what waits for a stalled reader
//! counts in its node's budget, and others wait for that.

use std::{
    collections::VecDeque,
    future::Future,
    io::{self, IoSlice},
    marker::PhantomData,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use crc32c::{crc32c, crc32c_append};
use futures::{Sink, Stream};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    time::{Sleep, sleep},
};

use crate::{Carrier, decode, encode};

const PREFIX: usize = 20;
/// Where its own checksum lies: a size that is wrong must not be waited for.
const CHECKSUM_AT: usize = 16;
/// Bytes read at once while a message, or the beginning of a payload, is read.
const READ_AHEAD: usize = 8 << 10;
/// With so many bytes to be written, no further message is taken.
const UNWRITTEN_MAX: usize = 64 << 10;
/// A stream that takes no byte for this long is given up.
const STALLED_MAX: Duration = Duration::from_secs(10);
/// Slices handed to one vectored write.
const SLICES_MAX: usize = 64;

/// A tarpc transport over a byte stream on which the handshake is done, between clients and nodes or between nodes. Holds one
/// message of at most the bound it was made with on each way, and what was read ahead.
#[derive(Debug)]
pub struct MessageTransport<S, Item, SinkItem> {
    stream: S,
    frame_bytes_max: usize,
    /// What was read ahead.
    buffer: BytesMut,
    incoming: Option<Incoming<Item>>,
    /// What is to be written, with its size.
    outgoing: VecDeque<Bytes>,
    unwritten: usize,
    /// Runs while the stream takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    stalled_max: Duration,
    sends: PhantomData<fn(SinkItem)>,
}

/// A message whose payload has not arrived as a whole.
#[derive(Debug)]
struct Incoming<Item> {
    message: Item,
    payload: BytesMut,
    size: usize,
    /// What the checksum of the payload is to be.
    checksum: u32,
}

impl<S, Item, SinkItem> MessageTransport<S, Item, SinkItem> {
    /// Messages that take more than `frame_bytes_max` bytes with their payload are refused on both ways.
    pub fn new(stream: S, frame_bytes_max: usize) -> Self {
        Self {
            stream,
            frame_bytes_max,
            buffer: BytesMut::new(),
            incoming: None,
            outgoing: VecDeque::new(),
            unwritten: 0,
            stalled: None,
            stalled_max: STALLED_MAX,
            sends: PhantomData,
        }
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message was damaged on its way")
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed message: {what}"))
}

/// Reads into a buffer, at most `bytes_max` bytes. Nothing is lost between two polls: each asks the stream anew.
fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    context: &mut Context<'_>,
    buffer: &mut BytesMut,
    bytes_max: usize,
) -> Poll<io::Result<usize>> {
    let mut room = buffer.limit(bytes_max);
    pin!(stream.read_buf(&mut room)).poll(context)
}

impl<S, Item, SinkItem> MessageTransport<S, Item, SinkItem>
where
    S: AsyncRead + Unpin,
    Item: Carrier + DeserializeOwned,
{
    /// Reads ahead until `size` bytes are there; false if the stream ends before the first of them.
    fn poll_fill(&mut self, context: &mut Context<'_>, size: usize) -> Poll<io::Result<bool>> {
        while self.buffer.len() < size {
            let missing = (size - self.buffer.len()).max(READ_AHEAD);
            self.buffer.reserve(missing);
            if ready!(poll_read(&mut self.stream, context, &mut self.buffer, missing))? == 0 {
                return Poll::Ready(if self.buffer.is_empty() {
                    Ok(false)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                });
            }
        }
        Poll::Ready(Ok(true))
    }

    /// The next message and as much of its payload as was read ahead; `None` at the end of the stream.
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Incoming<Item>>>> {
        if !ready!(self.poll_fill(context, PREFIX))? {
            return Poll::Ready(Ok(None));
        }
        let mut prefix = &self.buffer[..PREFIX];
        let of_prefix = crc32c(&prefix[..CHECKSUM_AT]);
        let (message, size) = (prefix.get_u32_le() as usize, prefix.get_u32_le() as usize);
        let (of_message, checksum) = (prefix.get_u32_le(), prefix.get_u32_le());
        if prefix.get_u32_le() != of_prefix {
            return Poll::Ready(Err(damaged()));
        }
        if message.saturating_add(size) > self.frame_bytes_max {
            let what = format!("{message} and {size} bytes, more than {}", self.frame_bytes_max);
            return Poll::Ready(Err(malformed(&what)));
        }
        ready!(self.poll_fill(context, PREFIX + message))?;
        let encoded = &self.buffer[PREFIX..PREFIX + message];
        if crc32c(encoded) != of_message {
            return Poll::Ready(Err(damaged()));
        }
        if !Item::is_plausible(encoded) {
            return Poll::Ready(Err(malformed("a deadline beyond all bounds")));
        }
        let found = decode(encoded);
        self.buffer.advance(PREFIX + message);
        let mut message: Item = found.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if !message.take().is_empty() {
            return Poll::Ready(Err(malformed("a payload within the message and not beside it")));
        }
        if size > 0 && !message.put(Bytes::new()) {
            return Poll::Ready(Err(malformed("a payload beside a message that has none")));
        }
        let mut payload = BytesMut::with_capacity(size);
        let ahead = self.buffer.len().min(size);
        payload.extend_from_slice(&self.buffer[..ahead]);
        self.buffer.advance(ahead);
        // What a large message took is not kept for the small ones behind it.
        if self.buffer.capacity() > 2 * READ_AHEAD {
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        Poll::Ready(Ok(Some(Incoming { message, payload, size, checksum })))
    }
}

impl<S, Item, SinkItem> Stream for MessageTransport<S, Item, SinkItem>
where
    S: AsyncRead + Unpin,
    Item: Carrier + DeserializeOwned + Unpin,
{
    type Item = io::Result<Item>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.incoming.is_none() {
            this.incoming = ready!(this.poll_message(context))?;
        }
        let Some(Incoming { payload, size, checksum, .. }) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        while payload.len() < *size {
            let missing = *size - payload.len();
            if ready!(poll_read(&mut this.stream, context, payload, missing))? == 0 {
                return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
            }
        }
        if crc32c(payload) != *checksum {
            return Poll::Ready(Some(Err(damaged())));
        }
        Poll::Ready(this.incoming.take().map(|Incoming { mut message, payload, .. }| {
            // Of a message without one nothing is put anywhere.
            message.put(payload.freeze());
            Ok(message)
        }))
    }
}

impl<S, Item, SinkItem> MessageTransport<S, Item, SinkItem>
where
    S: AsyncWrite + Unpin,
{
    /// Writes what was taken until at most `rest` bytes of it are left.
    fn poll_write(&mut self, context: &mut Context<'_>, rest: usize) -> Poll<io::Result<()>> {
        while self.unwritten > rest {
            let slices: Vec<IoSlice<'_>> =
                self.outgoing.iter().take(SLICES_MAX).map(|part| IoSlice::new(part)).collect();
            let mut written = match Pin::new(&mut self.stream).poll_write_vectored(context, &slices) {
                Poll::Ready(written) => written?,
                Poll::Pending => {
                    let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.stalled_max)));
                    ready!(stalled.as_mut().poll(context));
                    let what = format!("nothing of {} bytes was taken for {:?}", self.unwritten, self.stalled_max);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)));
                }
            };
            self.stalled = None;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unwritten -= written;
            while let Some(part) = self.outgoing.front_mut() {
                let count = written.min(part.len());
                part.advance(count);
                written -= count;
                if !part.is_empty() {
                    break;
                }
                // Its memory is free from here on, however long the rest takes.
                self.outgoing.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S, Item, SinkItem> Sink<SinkItem> for MessageTransport<S, Item, SinkItem>
where
    S: AsyncWrite + Unpin,
    Item: Unpin,
    SinkItem: Carrier + Serialize,
{
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_write(context, UNWRITTEN_MAX)
    }

    fn start_send(self: Pin<&mut Self>, mut item: SinkItem) -> io::Result<()> {
        let this = self.get_mut();
        let payload = item.take();
        let message = encode(&item).map_err(io::Error::other)?;
        let size = message.len() + payload.len();
        let (Ok(message_size), Ok(payload_size)) = (u32::try_from(message.len()), u32::try_from(payload.len())) else {
            return Err(malformed("too long"));
        };
        if size > this.frame_bytes_max {
            return Err(malformed(&format!("{size} bytes, more than {}", this.frame_bytes_max)));
        }
        let mut head = BytesMut::with_capacity(PREFIX + message.len());
        head.put_u32_le(message_size);
        head.put_u32_le(payload_size);
        head.put_u32_le(crc32c(&message));
        head.put_u32_le(payload.parts().iter().fold(0, |checksum, part| crc32c_append(checksum, part)));
        head.put_u32_le(crc32c(&head));
        head.put_slice(&message);
        this.outgoing.push_back(head.freeze());
        this.outgoing.extend(payload.parts().iter().filter(|part| !part.is_empty()).cloned());
        this.unwritten += PREFIX + size;
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_write(context, 0))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(context))?;
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
