//! A file system that cannot be written to, so that nothing an inspection calls can.

use std::{io, path::Path, sync::Arc};

use crate::{Vfs, VfsFile};

#[derive(Debug)]
pub(super) struct ReadOnly<'a>(pub(super) &'a dyn Vfs);

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "an inspection writes nothing"))
}

impl Vfs for ReadOnly<'_> {
    fn create(&self, _: &Path) -> io::Result<Arc<dyn VfsFile>> {
        refused()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.0.open_read_only(path)
    }

    fn open_read_only(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.0.open_read_only(path)
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.0.list(directory)
    }

    fn create_directory(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_directory(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn available_bytes(&self, directory: &Path) -> io::Result<u64> {
        self.0.available_bytes(directory)
    }

    fn directory_exists(&self, directory: &Path) -> bool {
        self.0.directory_exists(directory)
    }
}
