//! A disk in memory: what was not synced is gone after a crash, and a sync can be held.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IoSlice},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use quorate_log_engine::{Vfs, VfsFile};

/// The disk of one node. It survives crashes; what is mounted from it does not.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Counts crashes: a mount of an earlier life can do nothing any more.
    life: u64,
    syncs_held: bool,
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Contents>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    live: Vec<u8>,
    synced: Vec<u8>,
    dirty: Option<Range<usize>>,
    /// Whether the directory entry is on stable storage.
    named: bool,
}

impl Disk {
    /// A file system that works until the next crash.
    pub(crate) fn mount(self: &Arc<Self>) -> Arc<dyn Vfs> {
        let life = self.lock().life;
        Arc::new(Mount { disk: self.clone(), life })
    }

    /// Loses everything that was not synced, and ends all mounts.
    pub(crate) fn crash(&self) {
        let mut state = self.lock();
        state.life += 1;
        state.syncs_held = false;
        state.files.retain(|_, file| file.named);
        for file in state.files.values_mut() {
            file.live = file.synced.clone();
            file.dirty = None;
        }
        self.changed.notify_all();
    }

    /// Lets syncs wait, or go on.
    pub(crate) fn hold_syncs(&self, hold: bool) {
        self.lock().syncs_held = hold;
        self.changed.notify_all();
    }

    /// Another disk with what a reader of this one would see now, synced or not.
    pub(crate) fn copy(&self) -> Arc<Self> {
        let state = self.lock();
        let (directories, files) = (state.directories.clone(), state.files.clone());
        Arc::new(Self { state: Mutex::new(State { directories, files, ..State::default() }), ..Self::default() })
    }

    /// Removes a directory for good.
    pub(crate) fn lose(&self, directory: &Path) {
        let mut state = self.lock();
        state.directories.remove(directory);
        state.files.retain(|path, _| !path.starts_with(directory));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

#[derive(Debug)]
struct Mount {
    disk: Arc<Disk>,
    life: u64,
}

impl Mount {
    fn lock(&self) -> io::Result<MutexGuard<'_, State>> {
        self.alive(self.disk.lock())
    }

    fn alive<'a>(&self, state: MutexGuard<'a, State>) -> io::Result<MutexGuard<'a, State>> {
        if state.life == self.life { Ok(state) } else { Err(io::Error::other("the node has crashed")) }
    }

    fn file(&self, path: &Path) -> Arc<dyn VfsFile> {
        Arc::new(File { mount: Self { disk: self.disk.clone(), life: self.life }, path: path.to_owned() })
    }
}

impl Vfs for Mount {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let mut state = self.lock()?;
        if state.files.insert(path.to_owned(), Contents::default()).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(self.file(path))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.lock()?.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(path))
    }

    fn open_read_only(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock()?;
        let file = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.lock()?;
        let inside = state.files.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside.filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.lock()?.directories.insert(directory.to_owned());
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.lock()?;
        let inside = state.files.iter_mut().filter(|(path, _)| path.parent() == Some(directory));
        inside.for_each(|(_, file)| file.named = true);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.lock()?.files.remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        drop(self.lock()?);
        self.disk.lose(directory);
        Ok(())
    }

    fn directory_exists(&self, directory: &Path) -> bool {
        self.lock().is_ok_and(|state| state.directories.contains(directory))
    }
}

#[derive(Debug)]
struct File {
    mount: Mount,
    path: PathBuf,
}

impl File {
    fn with<T>(&self, use_it: impl FnOnce(&mut Contents) -> T) -> io::Result<T> {
        let mut state = self.mount.lock()?;
        Ok(use_it(state.files.get_mut(&self.path).ok_or(io::ErrorKind::NotFound)?))
    }
}

impl VfsFile for File {
    fn write_all_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.with(|file| {
            let start = position as usize;
            let mut at = start;
            for slice in slices {
                file.live.resize(file.live.len().max(at + slice.len()), 0);
                file.live[at..at + slice.len()].copy_from_slice(slice);
                at += slice.len();
            }
            let dirty = file.dirty.take().unwrap_or(start..at);
            file.dirty = Some(dirty.start.min(start)..dirty.end.max(at));
        })
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.with(|file| {
            let rest = file.live.get(position as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            count
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.mount.lock()?;
        while state.syncs_held {
            state = self.mount.alive(self.mount.disk.changed.wait(state).unwrap())?;
        }
        let file = self.mount.alive(state)?.files.get_mut(&self.path).map(|file| {
            file.synced.resize(file.live.len(), 0);
            if let Some(dirty) = file.dirty.take() {
                let dirty = dirty.start.min(file.live.len())..dirty.end.min(file.live.len());
                file.synced[dirty.clone()].copy_from_slice(&file.live[dirty]);
            }
        });
        file.ok_or(io::ErrorKind::NotFound.into())
    }

    fn size(&self) -> io::Result<u64> {
        self.with(|file| file.live.len() as u64)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.with(|file| file.live.truncate(size as usize))
    }
}
