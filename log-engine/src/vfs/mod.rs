//! The file system as the engine uses it: one of the seams at which tests put faults.

mod real;

pub use real::RealVfs;

use std::{
    fmt::Debug,
    io::{self, IoSlice},
    ops::Range,
    path::Path,
    sync::Arc,
};

/// A file system. All calls block.
pub trait Vfs: Debug + Send + Sync {
    /// Creates a file for reading and writing; fails if it exists.
    ///
    /// # Errors
    /// As the file system reports.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// As the file system reports.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>>;

    /// Opens an existing file for reading.
    ///
    /// # Errors
    /// As the file system reports.
    fn open_read_only(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>>;

    /// Gives a file another name in the same directory, in place of the file of that name if there is one.
    ///
    /// # Errors
    /// As the file system reports.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// The names of the files in a directory, in no order.
    ///
    /// # Errors
    /// As the file system reports.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Creates a directory and those above it that are missing, durably: also if a crashed process had created it
    /// before.
    ///
    /// # Errors
    /// As the file system reports.
    fn create_directory(&self, directory: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in a directory durable.
    ///
    /// # Errors
    /// As the file system reports.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the file system reports.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with all that is in it.
    ///
    /// # Errors
    /// As the file system reports.
    fn remove_directory(&self, directory: &Path) -> io::Result<()>;

    /// Bytes that a process without privileges may still write on the file system that holds a directory.
    ///
    /// # Errors
    /// As the file system reports.
    fn available_bytes(&self, directory: &Path) -> io::Result<u64>;

    /// Whether a directory exists.
    fn directory_exists(&self, directory: &Path) -> bool;
}

/// An open file. Positions and sizes are bytes.
pub trait VfsFile: Debug + Send + Sync {
    /// Writes all slices one after the other from `position` on.
    ///
    /// # Errors
    /// As the file system reports; how much was written is then unknown.
    fn write_all_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()>;

    /// Reads up to `buffer.len()` bytes; 0 at the end of the file.
    ///
    /// # Errors
    /// As the file system reports.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Brings all written bytes, and the size if it changed, to stable storage.
    ///
    /// # Errors
    /// As the file system reports; then nothing is known of any byte written since the last success, and the call
    /// must not be repeated in the hope of better luck.
    fn sync_data(&self) -> io::Result<()>;

    /// Tells that these bytes will hardly be read again soon: a cache may give up what of them is on stable storage, and a
    /// little before. Does nothing where there is no such thing.
    fn will_not_need(&self, _bytes: Range<u64>) {}

    /// The file's size.
    ///
    /// # Errors
    /// As the file system reports.
    fn size(&self) -> io::Result<u64>;

    /// Cuts the file to `size`.
    ///
    /// # Errors
    /// As the file system reports.
    fn truncate(&self, size: u64) -> io::Result<()>;
}

/// Reads exactly `buffer.len()` bytes.
///
/// # Errors
/// `UnexpectedEof` when the file ends before.
pub(crate) fn read_exact_at(file: &dyn VfsFile, buffer: &mut [u8], position: u64) -> io::Result<()> {
    let size = buffer.len();
    read_at_least(file, buffer, position, size).map(|_| ())
}

/// Fills the buffer as far as the file goes; returns how far.
///
/// # Errors
/// `UnexpectedEof` when that is less than `least` bytes.
pub(crate) fn read_at_least(file: &dyn VfsFile, buffer: &mut [u8], position: u64, least: usize) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], position + done as u64)? {
            0 if done < least => return Err(io::ErrorKind::UnexpectedEof.into()),
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}
