//! A file system that fails as it is told to, but for syncs of data: those are the disk's below.

use std::{
    io::{self, IoSlice},
    ops::Range,
    path::Path,
    sync::Arc,
    time::Duration,
};

use quorate_log_engine::{Vfs, VfsFile};

use super::Watched;

/// A [`Vfs`] with the faults of a node.
#[derive(Debug)]
pub struct FaultyVfs {
    inner: Arc<dyn Vfs>,
    faults: Arc<Watched>,
}

impl FaultyVfs {
    /// The same as `inner` while there are no faults.
    #[must_use]
    pub fn new(inner: Arc<dyn Vfs>, faults: Arc<Watched>) -> Self {
        Self { inner, faults }
    }

    fn file(&self, inner: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        Arc::new(FaultyFile { inner, faults: Arc::clone(&self.faults) })
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Arc<dyn VfsFile>,
    faults: Arc<Watched>,
}

fn check(fails: bool) -> io::Result<()> {
    if fails { Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())) } else { Ok(()) }
}

impl Vfs for FaultyVfs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        check(self.faults.now().writes_fail)?;
        Ok(self.file(self.inner.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(self.file(self.inner.open(path)?))
    }

    fn open_read_only(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(self.file(self.inner.open_read_only(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        check(self.faults.now().writes_fail)?;
        self.inner.rename(from, to)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.inner.list(directory)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        check(self.faults.now().writes_fail)?;
        self.inner.create_directory(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        check(self.faults.now().syncs_fail)?;
        self.inner.sync_directory(directory)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        check(self.faults.now().writes_fail)?;
        self.inner.remove_file(path)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        check(self.faults.now().writes_fail)?;
        self.inner.remove_directory(directory)
    }

    fn available_bytes(&self, directory: &Path) -> io::Result<u64> {
        let available = self.inner.available_bytes(directory)?;
        Ok(if self.faults.now().full { 0 } else { available })
    }

    fn directory_exists(&self, directory: &Path) -> bool {
        self.inner.directory_exists(directory)
    }
}

impl VfsFile for FaultyFile {
    fn write_all_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        check(self.faults.now().writes_fail)?;
        self.inner.write_all_at(slices, position)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        check(self.faults.now().reads_fail)?;
        self.inner.read_at(buffer, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        let delay = Duration::from_millis(self.faults.now().sync_delay_ms);
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        self.inner.sync_data()
    }

    fn will_not_need(&self, bytes: Range<u64>) {
        self.inner.will_not_need(bytes);
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        check(self.faults.now().writes_fail)?;
        self.inner.truncate(size)
    }
}
