//! A disk that forgets what was not synced: a kill of the process loses what a power cut would.
//!
//! Unsynced writes and truncations are kept in memory; of some writes, sectors reach the disk at once, so that a kill tears
//! them. A new file lives under a hidden name until its directory is synced, and a removed one stays on the disk until then.
//! While a given file exists, every sync of data waits. What a failed sync was to write is
//! seen, and no later sync writes it.
//!
//! Not here: RocksDB, whose store buffers its write-ahead log in memory until it is flushed anyway.

mod file;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use quorate_faulty_vfs::SplitMix64;
use quorate_log_engine::{RealVfs, Vfs, VfsFile};

use crate::node_faults::Watched;
use file::{Cached, Disk};

/// The file in the data directory that holds all syncs while it exists.
pub const HOLD_SYNC: &str = "hold-sync";

/// What a file is called until its directory is synced.
const HIDDEN_PREFIX: &str = ".unsynced-";

/// A [`Vfs`] over the real one that makes durable only what was synced.
///
/// Invariant: a path is never both in `created` and in `removed` without the removal being the older one.
#[derive(Debug)]
pub struct PowerLossVfs {
    disk: Arc<Disk>,
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    /// Files met so far: all handles of one file share its unsynced bytes.
    files: BTreeMap<PathBuf, Arc<Cached>>,
    /// Files whose names are not durable yet.
    created: BTreeSet<PathBuf>,
    /// Files whose removal is not durable yet.
    removed: BTreeSet<PathBuf>,
}

impl PowerLossVfs {
    /// The disk of a node; syncs wait while `hold` exists.
    #[must_use]
    pub fn new(hold: PathBuf) -> Self {
        Self::with(Disk { hold, faults: None, tears: None })
    }

    /// The disk of a node whose syncs also fail when its faults say so, and that tears writes as `seed` chooses.
    #[must_use]
    pub fn torn(hold: PathBuf, faults: Arc<Watched>, seed: u64) -> Self {
        Self::with(Disk { hold, faults: Some(faults), tears: Some(Mutex::new(SplitMix64::new(seed))) })
    }

    fn with(disk: Disk) -> Self {
        Self { disk: Arc::new(disk), names: Mutex::default() }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hidden(path: &Path) -> PathBuf {
    let mut name = OsString::from(HIDDEN_PREFIX);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

impl Vfs for PowerLossVfs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let mut names = self.names();
        if names.created.contains(path) || (path.exists() && !names.removed.contains(path)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // What an earlier process had created there is lost.
        match fs::remove_file(hidden(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = Cached::new(RealVfs.create(&hidden(path))?, self.disk.clone())?;
        names.files.insert(path.to_owned(), file.clone());
        names.created.insert(path.to_owned());
        Ok(file)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let mut names = self.names();
        if let Some(file) = names.files.get(path) {
            return Ok(file.clone());
        }
        if names.removed.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = Cached::new(RealVfs.open(path)?, self.disk.clone())?;
        names.files.insert(path.to_owned(), file.clone());
        Ok(file)
    }

    fn open_read_only(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.open(path)
    }

    /// Only for what the engine does: an unfinished file gets its final name. After a power cut a file that had that name
    /// is back, and the unfinished one gone, which nobody reads.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.names();
        if names.created.contains(to) {
            let reason = format!("{} is a new file, too", to.display());
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        // Somebody else may have synced the directory meanwhile.
        let is_new = names.created.remove(from);
        fs::rename(if is_new { hidden(from) } else { from.to_owned() }, hidden(to))?;
        names.created.insert(to.to_owned());
        if let Some(file) = names.files.remove(from) {
            names.files.insert(to.to_owned(), file);
        }
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let names = self.names();
        let mut listed: BTreeSet<String> = RealVfs.list(directory)?.into_iter().collect();
        listed.retain(|name| !name.starts_with(HIDDEN_PREFIX) && !names.removed.contains(&directory.join(name)));
        let created = names.created.iter().filter(|path| path.parent() == Some(directory));
        listed.extend(created.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())));
        Ok(listed.into_iter().collect())
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        RealVfs.create_directory(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut names = self.names();
        for path in names.removed.extract_if(.., |path| path.parent() == Some(directory)) {
            fs::remove_file(path)?;
        }
        for path in names.created.extract_if(.., |path| path.parent() == Some(directory)) {
            fs::rename(hidden(&path), path)?;
        }
        drop(names);
        RealVfs.sync_directory(directory)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut names = self.names();
        names.files.remove(path);
        if names.created.remove(path) {
            fs::remove_file(hidden(path))?;
            // It may have replaced another one, which goes too.
            if path.exists() {
                names.removed.insert(path.to_owned());
            }
            return Ok(());
        }
        if !path.exists() || !names.removed.insert(path.to_owned()) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(())
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        let mut names = self.names();
        let inside = |path: &PathBuf| path.starts_with(directory);
        names.files.retain(|path, _| !inside(path));
        names.created.retain(|path| !inside(path));
        names.removed.retain(|path| !inside(path));
        drop(names);
        RealVfs.remove_directory(directory)
    }

    fn available_bytes(&self, directory: &Path) -> io::Result<u64> {
        RealVfs.available_bytes(directory)
    }

    fn directory_exists(&self, directory: &Path) -> bool {
        RealVfs.directory_exists(directory)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
