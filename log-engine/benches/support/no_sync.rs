//! The real file system without its syncs: what remains is what the engine costs.

use std::{
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
};

use quorate_log_engine::{RealVfs, Vfs, VfsFile};

/// [`RealVfs`], but nothing is ever brought to stable storage.
#[derive(Debug)]
pub(crate) struct NoSync;

#[derive(Debug)]
struct NoSyncFile(Arc<dyn VfsFile>);

impl NoSync {
    pub(crate) fn vfs() -> Arc<dyn Vfs> {
        Arc::new(Self)
    }
}

impl Vfs for NoSync {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Arc::new(NoSyncFile(RealVfs.create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Arc::new(NoSyncFile(RealVfs.open(path)?)))
    }

    fn open_read_only(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        RealVfs.open_read_only(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealVfs.rename(from, to)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        RealVfs.list(directory)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        std::fs::create_dir_all(directory)
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealVfs.remove_file(path)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(directory)
    }

    fn available_bytes(&self, directory: &Path) -> io::Result<u64> {
        RealVfs.available_bytes(directory)
    }

    fn directory_exists(&self, directory: &Path) -> bool {
        RealVfs.directory_exists(directory)
    }
}

impl VfsFile for NoSyncFile {
    fn write_all_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.0.write_all_at(slices, position)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.truncate(size)
    }
}
