//! A disk in memory that keeps what was synced apart from what was not, and loses the latter at a power cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use quorate_log_engine::{Vfs, VfsFile};

/// What a power cut does to what was not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PowerCut {
    /// All of it is lost.
    LoseAll,
    /// Each write, creation and removal survives or not, by chance: disks reorder.
    KeepSome(u64),
    /// All survives but the end of each file's last write, from a sector boundary on.
    TearLast,
}

#[derive(Clone, Debug)]
enum FileChange {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Debug, Default)]
struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<FileChange>,
}

impl FileChange {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Truncate(size) => bytes.resize(*size as usize, 0),
            Self::Write(position, written) => {
                let end = *position as usize + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*position as usize..end].copy_from_slice(written);
            }
        }
    }
}

type Names = BTreeMap<PathBuf, usize>;

#[derive(Debug, Default)]
struct State {
    /// Handles of earlier epochs are dead: their process or the power is gone.
    epoch: u64,
    files: Vec<File>,
    directories: BTreeSet<PathBuf>,
    live: Names,
    durable: Names,
    pending: Vec<(PathBuf, Option<usize>)>,
    changes: u64,
    changes_max: Option<u64>,
    fail_next_sync: bool,
    /// Whether syncs (writes) wait, and how many do.
    gates: [(bool, usize); 2],
}

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

/// The test's view of the disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Inner>);

const SYNC: usize = 0;
const WRITE: usize = 1;

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn pass(&self, gate: usize) {
        let mut state = self.lock();
        state.gates[gate].1 += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.gates[gate].0).unwrap();
        state.gates[gate].1 -= 1;
    }
}

impl State {
    /// Admits one change of the disk, unless the process is dead by then.
    fn change(&mut self, epoch: u64) -> io::Result<()> {
        if self.epoch != epoch || self.changes_max.is_some_and(|max| self.changes >= max) {
            return Err(io::Error::other("crashed"));
        }
        self.changes += 1;
        Ok(())
    }
}

impl Disk {
    /// A disk that holds these files.
    pub(crate) fn of(contents: &[(PathBuf, Vec<u8>)]) -> Self {
        let disk = Self::default();
        let mut state = disk.0.lock();
        for (file, (path, bytes)) in contents.iter().enumerate() {
            state.directories.insert(path.parent().unwrap().to_owned());
            state.files.push(File { live: bytes.clone(), durable: bytes.clone(), pending: Vec::new() });
            state.live.insert(path.clone(), file);
            state.durable.insert(path.clone(), file);
        }
        drop(state);
        disk
    }

    /// The file system for a new process; those before it are dead.
    pub(crate) fn vfs(&self) -> Arc<dyn Vfs> {
        let mut state = self.0.lock();
        state.epoch += 1;
        (state.changes, state.changes_max) = (0, None);
        Arc::new(MemoryVfs { inner: self.0.clone(), epoch: state.epoch })
    }

    /// Changes admitted since the last [`Disk::vfs`].
    pub(crate) fn changes(&self) -> u64 {
        self.0.lock().changes
    }

    /// Lets the process make this many changes, and then none.
    pub(crate) fn crash_after(&self, changes: u64) {
        self.0.lock().changes_max = Some(changes);
    }

    pub(crate) fn fail_next_sync(&self) {
        self.0.lock().fail_next_sync = true;
    }

    /// Kills the process, loses what the power cut loses.
    pub(crate) fn power_cut(&self, cut: PowerCut) {
        let mut state = self.0.lock();
        state.epoch += 1;
        let mut seed = match cut {
            PowerCut::KeepSome(seed) => seed.wrapping_mul(2).wrapping_add(1),
            _ => 0,
        };
        let mut keeps = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match cut {
                PowerCut::LoseAll => false,
                PowerCut::KeepSome(_) => seed >> 33 & 1 == 1,
                PowerCut::TearLast => true,
            }
        };
        let state = &mut *state;
        for (path, file) in state.pending.drain(..) {
            if keeps() {
                rename(&mut state.durable, path, file);
            }
        }
        state.live = state.durable.clone();
        for file in &mut state.files {
            if let (PowerCut::TearLast, Some(FileChange::Write(position, bytes))) = (cut, file.pending.last_mut()) {
                let end = (*position + bytes.len() as u64 - 1) / 512 * 512;
                bytes.truncate(end.saturating_sub(*position) as usize);
            }
            for change in file.pending.drain(..) {
                if keeps() {
                    change.apply(&mut file.durable);
                }
            }
            file.live = file.durable.clone();
        }
    }

    /// The bytes of a file, live.
    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let state = self.0.lock();
        state.files[state.live[path]].live.clone()
    }

    /// Changes a file behind everyone's back.
    pub(crate) fn damage(&self, path: &Path, damage: impl Fn(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        let file = state.live[path];
        damage(&mut state.files[file].live);
        damage(&mut state.files[file].durable);
    }

    /// Removes a file behind everyone's back.
    pub(crate) fn lose(&self, path: &Path) {
        let mut state = self.0.lock();
        state.live.remove(path).unwrap();
        state.durable.remove(path);
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().live.keys().cloned().collect()
    }

    /// All files and their bytes, to see that nothing changed.
    pub(crate) fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.paths().into_iter().map(|path| (path.clone(), self.bytes(&path))).collect()
    }

    pub(crate) fn close_syncs(&self) {
        self.0.lock().gates[SYNC].0 = true;
    }

    pub(crate) fn close_writes(&self) {
        self.0.lock().gates[WRITE].0 = true;
    }

    /// Blocks until a sync waits at the closed gate.
    pub(crate) fn wait_for_sync(&self) {
        drop(self.0.changed.wait_while(self.0.lock(), |state| state.gates[SYNC].1 == 0).unwrap());
    }

    /// Blocks until a write waits at the closed gate.
    pub(crate) fn wait_for_write(&self) {
        drop(self.0.changed.wait_while(self.0.lock(), |state| state.gates[WRITE].1 == 0).unwrap());
    }

    pub(crate) fn open_gates(&self) {
        let mut state = self.0.lock();
        state.gates.iter_mut().for_each(|gate| gate.0 = false);
        self.0.changed.notify_all();
    }
}

fn rename(names: &mut Names, path: PathBuf, file: Option<usize>) {
    match file {
        Some(file) => drop(names.insert(path, file)),
        None => drop(names.remove(&path)),
    }
}

#[derive(Debug)]
struct MemoryVfs {
    inner: Arc<Inner>,
    epoch: u64,
}

impl MemoryVfs {
    fn handle(&self, file: usize) -> Arc<dyn VfsFile> {
        Arc::new(MemoryFile { inner: self.inner.clone(), epoch: self.epoch, file })
    }
}

impl Vfs for MemoryVfs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let mut state = self.inner.lock();
        state.change(self.epoch)?;
        if state.live.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.files.len();
        state.files.push(File::default());
        state.live.insert(path.to_owned(), file);
        state.pending.push((path.to_owned(), Some(file)));
        Ok(self.handle(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let state = self.inner.lock();
        state.live.get(path).map(|file| self.handle(*file)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open_read_only(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.inner.lock();
        state.change(self.epoch)?;
        let file = state.live.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.live.insert(to.to_owned(), file);
        state.pending.push((from.to_owned(), None));
        state.pending.push((to.to_owned(), Some(file)));
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.inner.lock();
        let inside = state.live.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.inner.lock();
        state.change(self.epoch)?;
        state.directories.insert(directory.to_owned());
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.inner.lock();
        state.change(self.epoch)?;
        if std::mem::take(&mut state.fail_next_sync) {
            return Err(io::Error::other("the disk is broken"));
        }
        let state = &mut *state;
        for (path, file) in state.pending.extract_if(.., |(path, _)| path.parent() == Some(directory)) {
            rename(&mut state.durable, path, file);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.inner.lock();
        state.change(self.epoch)?;
        state.live.remove(path).ok_or(io::ErrorKind::NotFound)?;
        state.pending.push((path.to_owned(), None));
        Ok(())
    }

    fn remove_directory(&self, _: &Path) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the engine removes no directory"))
    }

    fn directory_exists(&self, directory: &Path) -> bool {
        self.inner.lock().directories.contains(directory)
    }
}

#[derive(Debug)]
struct MemoryFile {
    inner: Arc<Inner>,
    epoch: u64,
    file: usize,
}

impl MemoryFile {
    fn change(&self, change: FileChange) -> io::Result<()> {
        let mut state = self.inner.lock();
        state.change(self.epoch)?;
        let file = &mut state.files[self.file];
        change.apply(&mut file.live);
        file.pending.push(change);
        Ok(())
    }
}

impl VfsFile for MemoryFile {
    fn write_all_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.inner.pass(WRITE);
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        if bytes.is_empty() { Ok(()) } else { self.change(FileChange::Write(position, bytes)) }
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let state = self.inner.lock();
        let rest = state.files[self.file].live.get(position as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.pass(SYNC);
        let mut state = self.inner.lock();
        state.change(self.epoch)?;
        let fails = std::mem::take(&mut state.fail_next_sync);
        let file = &mut state.files[self.file];
        // After a failure the pages look clean: a later success says nothing of them.
        for change in file.pending.drain(..).filter(|_| !fails) {
            change.apply(&mut file.durable);
        }
        if fails { Err(io::Error::other("the disk is broken")) } else { Ok(()) }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.inner.lock().files[self.file].live.len() as u64)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.change(FileChange::Truncate(size))
    }
}
