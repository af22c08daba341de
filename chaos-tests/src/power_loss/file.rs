//! A file whose unsynced changes are in memory.

use std::{
    io::{self, IoSlice},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use quorate_log_engine::VfsFile;

/// A sync is held no longer than this.
const HOLD_MAX: Duration = Duration::from_secs(60);
/// How often a held sync looks whether it may go on.
const HOLD_POLL: Duration = Duration::from_millis(2);

/// The file that holds all syncs while it exists.
#[derive(Debug)]
pub(super) struct Hold(pub(super) PathBuf);

impl Hold {
    fn pass(&self) {
        let deadline = Instant::now() + HOLD_MAX;
        while self.0.exists() && Instant::now() < deadline {
            std::thread::sleep(HOLD_POLL);
        }
    }
}

#[derive(Debug)]
enum Change {
    Write { position: u64, bytes: Vec<u8> },
    Truncate { size: u64 },
}

#[derive(Debug)]
struct State {
    /// The size with all changes.
    size: u64,
    /// Oldest first. What is durable is the real file alone.
    unsynced: Vec<Change>,
}

/// An open file: the real one, and the changes it does not have yet.
#[derive(Debug)]
pub(super) struct Cached {
    real: Arc<dyn VfsFile>,
    hold: Arc<Hold>,
    state: Mutex<State>,
}

impl Cached {
    pub(super) fn new(real: Arc<dyn VfsFile>, hold: Arc<Hold>) -> io::Result<Arc<Self>> {
        let state = Mutex::new(State { size: real.size()?, unsynced: Vec::new() });
        Ok(Arc::new(Self { real, hold, state }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl VfsFile for Cached {
    fn write_all_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let mut state = self.lock();
        state.size = state.size.max(position + bytes.len() as u64);
        state.unsynced.push(Change::Write { position, bytes });
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let state = self.lock();
        let size = (state.size.saturating_sub(position)).min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..size];
        buffer.fill(0);
        let mut read = 0;
        while read < size {
            match self.real.read_at(&mut buffer[read..], position + read as u64)? {
                0 => break,
                count => read += count,
            }
        }
        for change in &state.unsynced {
            match change {
                Change::Truncate { size } => {
                    let from = size.saturating_sub(position).min(buffer.len() as u64) as usize;
                    buffer[from..].fill(0);
                }
                Change::Write { position: at, bytes } => {
                    let start = position.max(*at);
                    let end = (position + buffer.len() as u64).min(at + bytes.len() as u64);
                    if start < end {
                        let (into, from) = ((start - position) as usize, (start - at) as usize);
                        let length = (end - start) as usize;
                        buffer[into..into + length].copy_from_slice(&bytes[from..from + length]);
                    }
                }
            }
        }
        Ok(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.hold.pass();
        let mut state = self.lock();
        for change in state.unsynced.drain(..) {
            match change {
                Change::Write { position, bytes } => self.real.write_all_at(&[IoSlice::new(&bytes)], position)?,
                Change::Truncate { size } => self.real.truncate(size)?,
            }
        }
        drop(state);
        self.real.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.lock().size)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let mut state = self.lock();
        state.size = size;
        state.unsynced.push(Change::Truncate { size });
        Ok(())
    }
}
