//! The test's view of a disk.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use quorate_log_engine::Vfs;

use crate::{
    fault::Fault,
    filter::{Filter, OperationKind},
    image::Image,
    journal::Journal,
    operation::{FileId, Operation},
    power_cut::PowerCut,
    rules::FaultId,
    state::{Shared, State},
    vfs::DiskVfs,
};

/// A disk in memory. Clones are the same disk; for another one see [`Disk::fork`].
///
/// All methods may be called while processes work on it. Those that name a file panic if it is not there.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Shared>);

impl Disk {
    /// A disk that holds these files, and their directories, on stable storage.
    #[must_use]
    pub fn of(contents: &[(PathBuf, Vec<u8>)]) -> Self {
        let mut image = Image::default();
        contents.iter().for_each(|(path, bytes)| image.insert_durably(path, bytes.clone()));
        Self::of_image(image)
    }

    pub(crate) fn of_image(image: Image) -> Self {
        let disk = Self::default();
        disk.0.lock().image = image;
        disk
    }

    /// Another disk in the same state, unsynced changes included. Cheap: bytes are copied when they are changed. It has
    /// no process, journal, fault, closed gate or capacity.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::of_image(self.0.lock().image.clone())
    }

    /// The file system for a new process; those before it are dead, and their handles fail.
    #[must_use]
    pub fn vfs(&self) -> Arc<dyn Vfs> {
        let mut state = self.0.lock();
        self.end_epoch(&mut state);
        Arc::new(DiskVfs::new(self.0.clone(), state.epoch))
    }

    fn end_epoch(&self, state: &mut State) {
        state.epoch += 1;
        (state.changes, state.changes_max) = (0, None);
        // Whoever of the dead waits at a gate.
        self.0.changed.notify_all();
    }

    /// Operations that changed the disk since the last [`Disk::vfs`]; a sync is one, also if it fails or is ignored.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.0.lock().changes
    }

    /// Lets the process make this many changes, counted as by [`Disk::changes`], and then none: they fail. Reads go on.
    pub fn crash_after(&self, changes: u64) {
        self.0.lock().changes_max = Some(changes);
    }

    /// Kills the process, loses what the power cut loses.
    pub fn power_cut(&self, cut: PowerCut) {
        let mut state = self.0.lock();
        let (changes, changes_max) = (state.changes, state.changes_max);
        self.end_epoch(&mut state);
        // Whoever asks what the dead process had done learns it until the next one begins.
        (state.changes, state.changes_max) = (changes, changes_max);
        state.happen(Operation::PowerCut(cut));
    }

    /// All files, directory by directory.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().image.live().map(|(path, _)| path.to_path_buf()).collect()
    }

    /// The bytes of a file as a process sees them.
    #[must_use]
    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        let state = self.0.lock();
        state.image.contents(file(&state, path)).live().to_vec()
    }

    /// How many bytes of a file a cache was told to give up so far, by [`VfsFile::will_not_need`]; those told twice count
    /// twice.
    ///
    /// [`VfsFile::will_not_need`]: quorate_log_engine::VfsFile::will_not_need
    #[must_use]
    pub fn bytes_given_up(&self, path: &Path) -> u64 {
        let state = self.0.lock();
        state.given_up.get(&file(&state, path)).copied().unwrap_or_default()
    }

    /// All files and their bytes as a process sees them, directory by directory: to see that nothing changed.
    #[must_use]
    pub fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.0.lock().image.all()
    }

    /// Changes a file behind everyone's back: what a process sees and what is on stable storage, each by one call.
    /// Unsynced writes are still to come over the latter.
    pub fn damage(&self, path: &Path, damage: impl Fn(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        let file = file(&state, path);
        let (live, durable) = state.image.contents(file).damaged(damage);
        state.happen(Operation::Damage { path: path.into(), file, live, durable });
    }

    /// Flips the bits of `mask` in the byte at `position`, for ever: in what a process sees, on stable storage and in
    /// what is not synced yet.
    pub fn flip(&self, path: &Path, position: u64, mask: u8) {
        let mut state = self.0.lock();
        let file = file(&state, path);
        let size = state.image.contents(file).live().len();
        assert!(position < size as u64, "byte {position} of {}, which has {size} bytes", path.display());
        state.happen(Operation::Flip { path: path.into(), file, position, mask });
    }

    /// Removes a file behind everyone's back, for ever.
    pub fn lose(&self, path: &Path) {
        let mut state = self.0.lock();
        file(&state, path);
        state.happen(Operation::Lose { path: path.into() });
    }

    /// How many bytes all files together may have; `None` for no bound, as at first. With less, nothing is lost: what
    /// would need room fails with `StorageFull`, of a write what fits is written. Removed files leave room at once.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity_bytes = bytes;
    }

    /// The size of all files together, bytes.
    #[must_use]
    pub fn bytes_used(&self) -> u64 {
        self.0.lock().image.bytes_used()
    }
}

fn file(state: &State, path: &Path) -> FileId {
    state.image.file(path).unwrap_or_else(|| panic!("{} is not there", path.display()))
}

/// Faults.
impl Disk {
    /// Schedules a fault on the operations that match and can go wrong so. Of several faults that strike an operation,
    /// the one scheduled first counts, but all delays do. Faults outlive processes and power cuts.
    ///
    /// Panics if it could never strike.
    pub fn inject(&self, filter: Filter, fault: Fault) -> FaultId {
        self.0.lock().rules.add(filter, fault)
    }

    /// Lets the syncs that match return success and make nothing durable.
    pub fn ignore_syncs(&self, filter: Filter) -> FaultId {
        self.inject(filter, Fault::IgnoredSync)
    }

    /// Lets the next sync of a file or a directory fail.
    pub fn fail_next_sync(&self) -> FaultId {
        self.inject(Filter::syncs().nth(0), Fault::Broken)
    }

    /// How many operations a fault has struck so far.
    #[must_use]
    pub fn struck(&self, fault: FaultId) -> u64 {
        self.0.lock().rules.struck(fault)
    }

    /// Ends a fault. What it did stays.
    pub fn heal(&self, fault: FaultId) {
        self.0.lock().rules.heal(fault);
    }

    /// Ends all faults. What they did stays.
    pub fn heal_all(&self) {
        self.0.lock().rules.heal_all();
    }
}

/// The journal.
impl Disk {
    /// Begins a [`Journal`] at the disk as it is, and drops one that was begun before.
    pub fn record(&self) {
        let mut state = self.0.lock();
        state.journal = Some(Journal::new(state.image.clone()));
    }

    /// Notes something in the journal, such as that an append was acknowledged; nothing happens if there is none.
    pub fn note(&self, note: u64) {
        if let Some(journal) = &mut self.0.lock().journal {
            journal.note(note);
        }
    }

    /// Ends the journal. Panics if none was begun.
    #[must_use]
    pub fn stop_recording(&self) -> Journal {
        let Some(journal) = self.0.lock().journal.take() else { panic!("no journal was begun") };
        journal
    }

    /// The disk as it was after a crash that followed exactly `length` operations of a journal. For many of them see
    /// [`Journal::prefixes`], which does not begin anew each time.
    #[must_use]
    pub fn replay(journal: &Journal, length: usize, cut: PowerCut) -> Self {
        let disk = Self::of_image(journal.image(length));
        disk.power_cut(cut);
        disk
    }
}

/// Gates.
impl Disk {
    /// Lets operations of a kind wait until the gate is opened, or their process is dead.
    pub fn close_gate(&self, kind: OperationKind) {
        self.0.lock().gates.close(kind);
    }

    /// Lets operations of a kind go on.
    pub fn open_gate(&self, kind: OperationKind) {
        self.0.lock().gates.open(kind);
        self.0.changed.notify_all();
    }

    /// Lets all operations go on.
    pub fn open_gates(&self) {
        self.0.lock().gates.open_all();
        self.0.changed.notify_all();
    }

    /// Blocks until an operation of a kind waits at its closed gate.
    pub fn wait_at_gate(&self, kind: OperationKind) {
        let mut state = self.0.lock();
        while state.gates.waiting(kind) == 0 {
            state = self.0.wait(state);
        }
    }

    /// Lets syncs of files wait.
    pub fn close_syncs(&self) {
        self.close_gate(OperationKind::SyncFile);
    }

    /// Lets writes wait.
    pub fn close_writes(&self) {
        self.close_gate(OperationKind::Write);
    }

    /// Blocks until a sync of a file waits at the closed gate.
    pub fn wait_for_sync(&self) {
        self.wait_at_gate(OperationKind::SyncFile);
    }

    /// Blocks until a write waits at the closed gate.
    pub fn wait_for_write(&self) {
        self.wait_at_gate(OperationKind::Write);
    }
}
