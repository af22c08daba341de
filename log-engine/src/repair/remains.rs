//! What is left of a damaged file: bytes that the disk cannot read, or that are not there, are zeros.

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use rustix::io::Errno;

use crate::VfsFile;

/// What a disk is asked for at once where it cannot read more: a page, and a sector of most.
const PAGE_BYTES: u64 = 4_096;

/// A file, or none, read as one of `size` bytes. Cannot be written.
#[derive(Debug)]
pub(super) struct Remains {
    pub(super) handle: Option<Arc<dyn VfsFile>>,
    pub(super) size: u64,
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the remains of a file are not written"))
}

impl Remains {
    /// Whether the file is there, and as long as it should be.
    pub(super) fn is_whole(&self) -> io::Result<bool> {
        self.handle.as_ref().map_or(Ok(false), |handle| Ok(handle.size()? >= self.size))
    }
}

impl VfsFile for Remains {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let wanted = self.size.saturating_sub(position).min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..wanted];
        let read = |buffer: &mut [u8]| self.handle.as_ref().map_or(Ok(0), |handle| handle.read_at(buffer, position));
        let unreadable = |error: &io::Error| error.raw_os_error() == Some(Errno::IO.raw_os_error());
        match read(buffer) {
            Ok(0) => {
                buffer.fill(0);
                Ok(wanted)
            }
            Err(error) if unreadable(&error) => {
                // One bad sector fails the whole read: find it.
                let page = &mut buffer[..wanted.min((PAGE_BYTES - position % PAGE_BYTES) as usize)];
                match read(page) {
                    Err(error) if unreadable(&error) => {
                        page.fill(0);
                        Ok(page.len())
                    }
                    other => other,
                }
            }
            other => other,
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn write_all_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<()> {
        refused()
    }

    fn sync_data(&self) -> io::Result<()> {
        refused()
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        refused()
    }
}
