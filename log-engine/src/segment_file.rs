//! A segment's file: who may write it, and how far it is written with zeros ahead.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{VfsFile, format::FileKind};

/// A segment file. Only the active segment is open for writing: its writer thread creates it after the log has decided
/// to, and closes it when the next one begins. Readers of a finished segment go through the node's bounded cache.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    writing: Mutex<Option<Arc<dyn VfsFile>>>,
    /// The byte position up to which the file's blocks are written, with frames or zeros.
    written_to: AtomicU64,
    /// The byte position up to which the page cache need not keep it.
    given_up_to: AtomicU64,
}

/// Bytes given up at once, so that small writes do not ask for it each time.
const GIVEN_UP_AT_ONCE: u64 = 1 << 20;
/// A page is given up as a whole.
const PAGE: u64 = 4096;

impl SegmentFile {
    pub(crate) fn planned(directory: &Path, number: u64) -> Arc<Self> {
        let path = FileKind::Segment.path(directory, number);
        Arc::new(Self {
            number,
            path,
            writing: Mutex::new(None),
            written_to: AtomicU64::new(0),
            given_up_to: AtomicU64::new(0),
        })
    }

    /// The handle to write with, or to read what was just written, while the segment is active and created.
    pub(crate) fn writing(&self) -> Option<Arc<dyn VfsFile>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The file is there and may be written.
    pub(crate) fn begin(&self, handle: Arc<dyn VfsFile>, written_to: u64) {
        self.written_to.store(written_to, Relaxed);
        *self.writing.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    }

    /// Nothing will be written any more.
    pub(crate) fn finish(&self) {
        *self.writing.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn written_to(&self) -> u64 {
        self.written_to.load(Relaxed)
    }

    /// The bytes that the page cache may give up, now that all up to `end` are on stable storage, if there are enough of
    /// them. Called by the writer thread alone.
    pub(crate) fn give_up(&self, end: u64) -> Option<Range<u64>> {
        let (from, to) = (self.given_up_to.load(Relaxed), end / PAGE * PAGE);
        (to >= from + GIVEN_UP_AT_ONCE).then(|| {
            self.given_up_to.store(to, Relaxed);
            from..to
        })
    }

    pub(crate) fn set_written_to(&self, position: u64) {
        self.written_to.fetch_max(position, Relaxed);
    }
}
