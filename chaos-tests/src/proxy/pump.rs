//! One direction of a connection: bytes are read, wait for their time, and are written or vanish.
//!
//! Invariant: what is written is a prefix of what was read, but for the bits that a link corrupts. After the first lost byte
//! nothing is written any more.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use quorate_faulty_vfs::SplitMix64;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{ReadHalf, WriteHalf},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{Rule, links::LinkState};

/// Bytes on their way in one direction of one connection. At 20 ms of delay, that is 800 MB/s.
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// Chunks on their way: small ones count too.
const QUEUE_CHUNKS_MAX: usize = 16_384;
const CHUNK_BYTES: usize = 64 << 10;

/// Directions of connections so far: each is corrupted in its own way.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// The link of a direction, and whether it has lost bytes.
#[derive(Debug)]
pub(super) struct Pump<'a> {
    pub(super) link: watch::Receiver<LinkState>,
    pub(super) lost: &'a AtomicBool,
}

/// Bytes and when they arrive. Empty at the end of the stream.
struct Chunk {
    due: Instant,
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// Whether a link takes bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes(Rule),
    Vanishes,
}

impl Pump<'_> {
    /// What becomes of bytes that are at the link now.
    fn fate(&self) -> io::Result<Fate> {
        let rule = self.link.borrow().rule;
        if rule == Rule::Drop {
            self.lost.store(true, Ordering::Release);
        }
        // Looked at once more: whoever watches the link may have missed the loss if it was healed just now.
        match (self.lost.load(Ordering::Acquire), self.link.borrow().rule) {
            (true, Rule::Drop) => Ok(Fate::Vanishes),
            (true, _) => Err(io::Error::new(io::ErrorKind::ConnectionReset, "bytes were lost")),
            (false, _) => Ok(Fate::Passes(rule)),
        }
    }
}

/// Runs until the end of the stream has been passed on.
///
/// # Errors
/// When the connection must be reset.
pub(super) async fn run(
    pump: &Pump<'_>,
    source: ReadHalf<'_>,
    destination: WriteHalf<'_>,
    first: Bytes,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel(QUEUE_CHUNKS_MAX);
    tokio::try_join!(read(pump, source, first, sender), write(pump, destination, receiver))?;
    Ok(())
}

async fn read(pump: &Pump<'_>, mut source: ReadHalf<'_>, first: Bytes, queue: mpsc::Sender<Chunk>) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
    let mut buffer = BytesMut::from(&first[..]);
    let mut last_due = Instant::now();
    let mut random = SplitMix64::new(CONNECTIONS.fetch_add(1, Ordering::Relaxed));
    loop {
        let mut ended = false;
        if buffer.is_empty() {
            buffer.reserve(CHUNK_BYTES);
            match source.read_buf(&mut buffer).await {
                Ok(read) => ended = read == 0,
                Err(error) => {
                    // Neither does the news that the sender is gone pass a cut link.
                    let mut link = pump.link.clone();
                    let _ = link.wait_for(|state| state.rule != Rule::Drop).await;
                    return Err(error);
                }
            }
        }
        let mut bytes = buffer.split();
        let Fate::Passes(rule) = pump.fate()? else {
            if ended {
                // The end is lost as well: nothing is left to do but to wait for the reset.
                return std::future::pending().await;
            }
            continue;
        };
        last_due = match rule {
            Rule::Delay(delay) => last_due.max(Instant::now() + delay),
            Rule::Throttle(bytes_per_second) => {
                let takes = Duration::from_secs_f64(bytes.len() as f64 / f64::from(bytes_per_second.max(1)));
                last_due.max(Instant::now()) + takes
            }
            // What is queued goes first all the same.
            Rule::Pass | Rule::Corrupt(_) | Rule::Hold | Rule::Drop => Instant::now(),
        };
        if let Rule::Corrupt(once_in) = rule {
            corrupt(&mut bytes, once_in, &mut random);
        }
        let bytes = bytes.freeze();
        let permits = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let permit = Arc::clone(&room).acquire_many_owned(permits).await.map_err(io::Error::other)?;
        let chunk = Chunk { due: last_due, bytes, _room: permit };
        if queue.send(chunk).await.is_err() || ended {
            return Ok(());
        }
    }
}

/// Flips a bit in about one of so many bytes.
fn corrupt(bytes: &mut [u8], once_in: u32, random: &mut SplitMix64) {
    let mut at = random.below(2 * u64::from(once_in)) as usize;
    while at < bytes.len() {
        bytes[at] ^= 1 << random.below(8);
        at += 1 + random.below(2 * u64::from(once_in)) as usize;
    }
}

async fn write(pump: &Pump<'_>, mut destination: WriteHalf<'_>, mut queue: mpsc::Receiver<Chunk>) -> io::Result<()> {
    let mut link = pump.link.clone();
    while let Some(Chunk { due, bytes, _room }) = queue.recv().await {
        if due > Instant::now() {
            // Bytes that are throttled, or late, do not wait beyond that.
            let late = |state: &LinkState| matches!(state.rule, Rule::Throttle(_) | Rule::Delay(_));
            tokio::select! {
                () = sleep_until(due) => {}
                _ = link.wait_for(|state| !late(state)) => {}
            }
        }
        let _ = link.wait_for(|state| state.rule != Rule::Hold).await;
        match pump.fate()? {
            Fate::Vanishes => {}
            Fate::Passes(_) if bytes.is_empty() => return destination.shutdown().await,
            Fate::Passes(_) => destination.write_all(&bytes).await?,
        }
    }
    // The stream's end was lost.
    std::future::pending().await
}
