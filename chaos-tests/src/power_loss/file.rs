//! A file whose unsynced changes are in memory, but for sectors that were on their way already.

use std::{
    io::{self, IoSlice},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use quorate_faulty_vfs::SplitMix64;
use quorate_log_engine::VfsFile;

use crate::node_faults::Watched;

/// A sync is held no longer than this.
const HOLD_MAX: Duration = Duration::from_secs(60);
/// How often a held sync looks whether it may go on.
const HOLD_POLL: Duration = Duration::from_millis(2);

/// What a power cut leaves whole.
const SECTOR: u64 = 512;
/// Of so many unsynced writes, one leaves some of its sectors behind at a power cut.
const TORN_ONCE_IN: u64 = 4;

/// What all files of a disk have in common.
#[derive(Debug)]
pub(super) struct Disk {
    /// The file that holds all syncs while it exists.
    pub(super) hold: PathBuf,
    /// What says whether syncs fail.
    pub(super) faults: Option<Arc<Watched>>,
    /// Chooses the writes that are torn; none without it.
    pub(super) tears: Option<Mutex<SplitMix64>>,
}

impl Disk {
    fn pass(&self) -> io::Result<()> {
        let deadline = Instant::now() + HOLD_MAX;
        while self.hold.exists() && Instant::now() < deadline {
            std::thread::sleep(HOLD_POLL);
        }
        match &self.faults {
            Some(faults) if faults.now().syncs_fail => {
                Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()))
            }
            _ => Ok(()),
        }
    }

    /// The part of a write that is on the disk at once, if any: whole sectors from its beginning or from somewhere within.
    fn torn(&self, position: u64, size: u64) -> Option<(u64, u64)> {
        let mut random = self.tears.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        if size == 0 || !random.chance(1, TORN_ONCE_IN) {
            return None;
        }
        let sectors = (position / SECTOR, (position + size).div_ceil(SECTOR));
        let first = sectors.0 + if random.chance(1, 2) { 0 } else { random.below(sectors.1 - sectors.0) };
        let end = first + random.below(sectors.1 - first) + 1;
        Some(((first * SECTOR).max(position), (end * SECTOR).min(position + size)))
    }
}

#[derive(Debug)]
enum Change {
    Write { position: u64, bytes: Vec<u8> },
    Truncate { size: u64 },
}

/// What has become of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Unsynced,
    Synced,
    /// The sync that was to write it has failed. As in a page cache, it is seen, and no later sync writes it.
    Lost,
}

#[derive(Debug)]
struct State {
    /// The size with all changes.
    size: u64,
    /// Oldest first. What is durable is the real file alone.
    changes: Vec<(Change, Fate)>,
}

impl State {
    fn change(&mut self, change: Change) {
        self.changes.push((change, Fate::Unsynced));
    }

    fn unsynced(&mut self) -> impl Iterator<Item = &mut (Change, Fate)> {
        self.changes.iter_mut().filter(|(_, fate)| *fate == Fate::Unsynced)
    }
}

/// An open file: the real one, and the changes it does not have yet.
#[derive(Debug)]
pub(super) struct Cached {
    real: Arc<dyn VfsFile>,
    disk: Arc<Disk>,
    state: Mutex<State>,
}

impl Cached {
    pub(super) fn new(real: Arc<dyn VfsFile>, disk: Arc<Disk>) -> io::Result<Arc<Self>> {
        let state = Mutex::new(State { size: real.size()?, changes: Vec::new() });
        Ok(Arc::new(Self { real, disk, state }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl VfsFile for Cached {
    fn write_all_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let mut state = self.lock();
        let size = bytes.len() as u64;
        if let Some((from, to)) = self.disk.torn(position, size).filter(|(from, to)| from < to) {
            let part = &bytes[(from - position) as usize..(to - position) as usize];
            self.real.write_all_at(&[IoSlice::new(part)], from)?;
        }
        state.size = state.size.max(position + size);
        state.change(Change::Write { position, bytes });
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
        for (change, _) in &state.changes {
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
        let passed = self.disk.pass();
        let mut state = self.lock();
        if let Err(failed) = passed {
            state.unsynced().for_each(|(_, fate)| *fate = Fate::Lost);
            return Err(failed);
        }
        for (change, fate) in state.unsynced() {
            match change {
                Change::Write { position, bytes } => self.real.write_all_at(&[IoSlice::new(bytes)], *position)?,
                Change::Truncate { size } => self.real.truncate(*size)?,
            }
            *fate = Fate::Synced;
        }
        // Whoever reads sees all changes in order: what was synced since something was lost stays behind that.
        if state.changes.iter().all(|(_, fate)| *fate == Fate::Synced) {
            state.changes.clear();
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
        state.change(Change::Truncate { size });
        Ok(())
    }
}
