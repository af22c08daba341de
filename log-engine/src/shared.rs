//! An open log as its callers, its writer thread and the node's maintenance share it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    Hole, LogFailure, Vfs, VfsFile,
    read::OpenSegments,
    segment_file::SegmentFile,
    state::{Durable, State},
    write::MaintenanceQueue,
};

/// Holes remembered of one log. One is enough to keep a replica from leading.
const HOLES_MAX: usize = 1_000;

/// The file of the next segment, made ahead of its time: all zeros, and durable with its name.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) number: u64,
    pub(crate) handle: Arc<dyn VfsFile>,
    pub(crate) written_to: u64,
}

/// What the maintenance has made ready for a log.
#[derive(Debug, Default)]
pub(crate) struct Preparation {
    /// Whether the log is closed: then nothing is created any more.
    pub(crate) closed: bool,
    pub(crate) ready: Option<Prepared>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Tells the open logs of a process apart.
    pub(crate) id: u64,
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) directory: PathBuf,
    pub(crate) segment_bytes: u64,
    pub(crate) payload_bytes_max: u64,
    pub(crate) open_segments: Arc<OpenSegments>,
    pub(crate) maintenance: MaintenanceQueue,
    /// Held while a file is made.
    pub(crate) preparation: Mutex<Preparation>,
    closed: AtomicBool,
    state: Mutex<State>,
    failure: OnceLock<LogFailure>,
    holes: Mutex<Vec<Hole>>,
    repairing: Mutex<()>,
}

/// What a log shares with the others of its node.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) open_segments: Arc<OpenSegments>,
    pub(crate) maintenance: MaintenanceQueue,
}

impl Shared {
    pub(crate) fn new(
        vfs: Arc<dyn Vfs>,
        segment_bytes: u64,
        payload_bytes_max: u64,
        common: Common,
        state: State,
    ) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        Self {
            id: IDS.fetch_add(1, Relaxed),
            vfs,
            directory: state.directory.clone(),
            segment_bytes,
            payload_bytes_max,
            open_segments: common.open_segments,
            maintenance: common.maintenance,
            preparation: Mutex::default(),
            closed: AtomicBool::new(false),
            state: Mutex::new(state),
            failure: OnceLock::new(),
            holes: Mutex::default(),
            repairing: Mutex::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a broken invariant, and the process is on its way down.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn prepare(&self) -> MutexGuard<'_, Preparation> {
        self.preparation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn failure(&self) -> Option<&LogFailure> {
        self.failure.get()
    }

    /// Poisons the log for good and returns the first failure.
    pub(crate) fn poison(&self, reason: &str, storage_full: bool) -> LogFailure {
        let failure = self.failure.get_or_init(|| LogFailure { reason: reason.into(), storage_full });
        tracing::error!(%failure, "a log takes no further writes");
        failure.clone()
    }

    /// Called by the writer thread when everything of `generation` up to here is on stable storage.
    pub(crate) fn synced(&self, generation: u64, through: Option<u64>, segment: u64, position: u64) {
        let mut state = self.lock();
        if state.generation == generation {
            state.durable = Durable { through: state.durable.through.max(through), segment, position };
            let evictable = state.durable.through;
            state.tail.shrink(evictable);
            state.check();
        }
    }

    /// Ends the work on the log's files, but for writes already queued.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
        let mut preparation = self.prepare();
        preparation.closed = true;
        preparation.ready = None;
        drop(preparation);
        self.open_segments.forget_log(self.id);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Held by the one repair of this log that is under way.
    pub(crate) fn repairing(&self) -> MutexGuard<'_, ()> {
        self.repairing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The damage known. Whoever needs the state as well locks that first.
    pub(crate) fn holes(&self) -> MutexGuard<'_, Vec<Hole>> {
        self.holes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was damaged of the entries from this log index on, which were truncated away.
    pub(crate) fn forget_holes_from(&self, index: u64) {
        let mut holes = self.holes();
        holes.retain(|hole| hole.indexes.start < index);
        holes.iter_mut().for_each(|hole| hole.indexes.end = hole.indexes.end.min(index));
    }

    /// Forgets what was damaged of a segment's file, which is mended.
    pub(crate) fn forget_holes_of(&self, path: &Path) {
        self.holes().retain(|hole| hole.path != path);
    }

    /// Remembers damage of a segment's file, once. What is not part of the log any more is nobody's damage.
    pub(crate) fn report(&self, file: &Arc<SegmentFile>, hole: Hole) {
        // Both locks, in this order: a trim or a repair that comes next finds the hole and forgets it.
        let state = self.lock();
        let mut holes = self.holes();
        if !state.has_file(file) || hole.lies_before(state.start.index) {
            return;
        }
        if holes.len() < HOLES_MAX
            && !holes.iter().any(|known| (&known.path, &known.indexes) == (&hole.path, &hole.indexes))
        {
            tracing::error!(%hole, "a log is damaged");
            holes.push(hole);
        }
    }
}
