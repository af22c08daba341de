//! Faults of a node's disk and clock that come and go while it runs.
//!
//! They are said in [`FAULTS`], a file in the node's data directory, which the node looks at all the time. What is wrong with
//! bytes that lie on the disk is done to its files from outside.

mod vfs;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use quorate_node::{SystemClock, WallClock};
use serde::{Deserialize, Serialize};

pub use vfs::FaultyVfs;

/// The file in the data directory that says which faults there are; none without it.
pub const FAULTS: &str = "faults.json";
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What is wrong with a node's disk and clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeFaults {
    /// Every sync of data takes this much longer, in milliseconds.
    pub sync_delay_ms: u64,
    /// Syncs fail.
    pub syncs_fail: bool,
    /// Writes fail.
    pub writes_fail: bool,
    /// Reads fail.
    pub reads_fail: bool,
    /// There is no room for more.
    pub full: bool,
    /// The clock is ahead by so much, in milliseconds, or behind.
    pub clock_offset_ms: i64,
}

impl NodeFaults {
    /// What is wrong if both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            sync_delay_ms: self.sync_delay_ms.max(other.sync_delay_ms),
            syncs_fail: self.syncs_fail || other.syncs_fail,
            writes_fail: self.writes_fail || other.writes_fail,
            reads_fail: self.reads_fail || other.reads_fail,
            full: self.full || other.full,
            clock_offset_ms: self.clock_offset_ms.saturating_add(other.clock_offset_ms),
        }
    }

    /// Whether the disk does not do what it is asked: a replica that finds out takes nothing more.
    #[must_use]
    pub fn disk_fails(self) -> bool {
        self.syncs_fail || self.writes_fail || self.reads_fail
    }

    /// Lets these faults, and no others, hold on a node with this data directory.
    ///
    /// # Errors
    /// If they cannot be written down.
    pub fn install(self, data_dir: &Path) -> io::Result<()> {
        let (file, new) = (data_dir.join(FAULTS), data_dir.join(format!("{FAULTS}.new")));
        fs::write(&new, serde_json::to_vec(&self)?)?;
        fs::rename(new, file)
    }
}

/// As in "syncs fail, the clock is 20 s ahead".
impl fmt::Display for NodeFaults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sync_delay_ms, syncs_fail, writes_fail, reads_fail, full, clock_offset_ms } = *self;
        let faults = [
            (sync_delay_ms > 0).then(|| format!("syncs take {sync_delay_ms} ms longer")),
            syncs_fail.then(|| "syncs fail".to_owned()),
            writes_fail.then(|| "writes fail".to_owned()),
            reads_fail.then(|| "reads fail".to_owned()),
            full.then(|| "no room".to_owned()),
            (clock_offset_ms != 0).then(|| format!("the clock is {} s ahead", clock_offset_ms / 1_000)),
        ];
        formatter.write_str(&faults.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// The faults that hold now.
#[derive(Debug, Default)]
pub struct Watched(RwLock<NodeFaults>);

impl Watched {
    /// Looks at the file on a thread of its own for as long as this lives.
    #[must_use]
    pub fn start(file: PathBuf) -> Arc<Self> {
        let watched = Arc::new(Self::default());
        let weak = Arc::downgrade(&watched);
        watched.look(&file);
        std::thread::spawn(move || watch(&weak, &file));
        watched
    }

    /// The faults that hold now.
    #[must_use]
    pub fn now(&self) -> NodeFaults {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, file: &Path) {
        let said = fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = said;
    }
}

fn watch(watched: &Weak<Watched>, file: &Path) {
    while let Some(watched) = watched.upgrade() {
        watched.look(file);
        drop(watched);
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The system's clock, ahead or behind.
#[derive(Debug)]
pub struct FaultyClock(pub Arc<Watched>);

impl WallClock for FaultyClock {
    fn now_ms(&self) -> i64 {
        SystemClock.now_ms().saturating_add(self.0.now().clock_offset_ms)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
