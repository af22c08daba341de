//! A disk with one directory, and short words for what the tests do to it.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use quorate_faulty_vfs::Disk;
use quorate_log_engine::{Vfs, VfsFile};

pub(crate) const DIRECTORY: &str = "/d";

/// A disk whose directory `/d` is there, and a process on it.
pub(crate) fn disk() -> (Disk, Arc<dyn Vfs>) {
    let disk = Disk::default();
    let vfs = disk.vfs();
    vfs.create_directory(Path::new(DIRECTORY)).unwrap();
    (disk, vfs)
}

/// The path of this name in the directory.
pub(crate) fn at(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// A new file, with these bytes, on stable storage with its name.
pub(crate) fn durable(vfs: &Arc<dyn Vfs>, name: &str, bytes: &[u8]) -> Arc<dyn VfsFile> {
    let file = vfs.create(&at(name)).unwrap();
    write(&file, bytes, 0).unwrap();
    file.sync_data().unwrap();
    vfs.sync_directory(Path::new(DIRECTORY)).unwrap();
    file
}

pub(crate) fn write(file: &Arc<dyn VfsFile>, bytes: &[u8], position: u64) -> io::Result<()> {
    file.write_all_at(&[IoSlice::new(bytes)], position)
}

/// Up to `count` bytes, by one read.
pub(crate) fn read(file: &Arc<dyn VfsFile>, position: u64, count: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; count];
    let found = file.read_at(&mut buffer, position)?;
    buffer.truncate(found);
    Ok(buffer)
}

/// The names of the files in the directory.
pub(crate) fn names(disk: &Disk) -> Vec<String> {
    disk.paths().iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}
