//! The file a segment is rebuilt in, written from its beginning to its end.

use std::{
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;

use crate::{Vfs, VfsFile};

/// Bytes written at once.
const CHUNK: u64 = 1 << 20;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

#[derive(Debug)]
pub(super) struct Sink {
    handle: Arc<dyn VfsFile>,
    parts: Vec<Bytes>,
    /// Where the parts begin, and end.
    written_to: u64,
    position: u64,
}

impl Sink {
    /// A new file, in place of what an earlier try has left.
    pub(super) fn create(vfs: &dyn Vfs, path: &Path) -> io::Result<Self> {
        match vfs.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self { handle: vfs.create(path)?, parts: Vec::new(), written_to: 0, position: 0 })
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn push(&mut self, part: Bytes) -> io::Result<()> {
        self.position += part.len() as u64;
        self.parts.push(part);
        if self.position - self.written_to >= CHUNK { self.flush() } else { Ok(()) }
    }

    pub(super) fn push_zeros_to(&mut self, position: u64) -> io::Result<()> {
        while self.position < position {
            let size = (position - self.position).min(ZEROS.len() as u64);
            self.push(Bytes::from_static(&ZEROS[..size as usize]))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let slices: Vec<_> = self.parts.iter().map(|part| IoSlice::new(part)).collect();
        self.handle.write_all_at(&slices, self.written_to)?;
        self.parts.clear();
        self.written_to = self.position;
        Ok(())
    }

    /// Brings everything to stable storage, and out of the cache, so that who reads it reads the disk.
    pub(super) fn finish(mut self) -> io::Result<Arc<dyn VfsFile>> {
        self.flush()?;
        self.handle.sync_data()?;
        self.handle.will_not_need(0..self.position);
        Ok(self.handle)
    }
}
