//! What the engine is compared with: a loop that writes a chunk to a file, and syncs it.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};

/// A file that is written in order.
#[derive(Debug)]
pub(crate) struct PlainFile {
    file: File,
    position: u64,
    /// Bytes written ahead: the file is written over and over. 0 for a file that grows.
    size: u64,
}

impl PlainFile {
    /// An empty file, which grows.
    pub(crate) fn growing(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path).unwrap();
        Self { file, position: 0, size: 0 }
    }

    /// A file of so many bytes, all of them written and synced before: writing to it changes no metadata.
    pub(crate) fn written_ahead(path: &Path, size: u64) -> Self {
        let plain = Self { size, ..Self::growing(path) };
        plain.file.write_all_at(&vec![0; size as usize], 0).unwrap();
        plain.file.sync_all().unwrap();
        plain
    }

    pub(crate) fn write(&mut self, chunk: &[u8]) {
        if self.size > 0 && self.position + chunk.len() as u64 > self.size {
            self.position = 0;
        }
        self.file.write_all_at(chunk, self.position).unwrap();
        self.position += chunk.len() as u64;
    }

    pub(crate) fn write_and_sync(&mut self, chunk: &[u8]) {
        self.write(chunk);
        self.file.sync_data().unwrap();
    }

    /// Reads the file through, so many bytes at a time; returns how many there are.
    pub(crate) fn read_through(&self, chunk: &mut [u8]) -> u64 {
        let mut position = 0;
        loop {
            match self.file.read_at(chunk, position).unwrap() {
                0 => return position,
                count => position += count as u64,
            }
        }
    }
}
