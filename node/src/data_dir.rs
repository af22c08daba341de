//! The data directory: `lock`, `store/` (RocksDB) and `replicas/`. One process at a time.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// A data directory that this process has locked.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Unlocked when the file is closed, however the process ends.
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("{path}: in use by another quorate-node; stop that one or choose another --data-dir", path = path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("{path}: {source}; the data directory must be a directory this user may write to", path = path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

impl DataDir {
    /// Creates the directory if it is missing, and locks it.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(failed)?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(lock_path).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::InUse { path: path.to_owned() }),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Where the keyed store lives.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Whether there is any replica's log.
    #[must_use]
    pub fn has_replicas(&self) -> bool {
        std::fs::read_dir(self.replicas()).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Where the replicas' logs live.
    #[must_use]
    pub fn replicas(&self) -> PathBuf {
        self.path.join("replicas")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        let owner = DataDir::open(&path).unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::InUse { .. })));
        drop(owner);
        DataDir::open(&path).unwrap();
    }
}
