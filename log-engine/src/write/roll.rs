//! Beginning a segment.
//!
//! Its header vouches for all before it, so that is synced first; and the header is on stable storage before anything
//! else is written to the segment, so that a segment that holds more than its header has a sound one or is damaged.
//! The slow part, to make a file and sync its directory, is done ahead of time by the maintenance: a roll without
//! truncation costs its log two syncs and the other logs of the thread nothing else.

use std::{
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;

use super::{
    dirty::{guarded, zeros_to_step},
    maintenance::MaintenanceJob,
    publish::publish,
    writers::{Counters, Mark},
};
use crate::{
    Checkpoint, IndexFile, Vfs, VfsFile,
    format::FileKind,
    segment_file::SegmentFile,
    shared::{Prepared, Shared},
};

/// A segment to begin.
pub(crate) struct Roll {
    pub(crate) log: Arc<Shared>,
    pub(crate) file: Arc<SegmentFile>,
    pub(crate) header: Bytes,
    pub(crate) mark: Mark,
    /// Segments that are not written any more.
    pub(crate) finished: Vec<Arc<SegmentFile>>,
    /// Segments that are off the chain once this one is on stable storage.
    pub(crate) dropped: Vec<Arc<SegmentFile>>,
    /// The index of the segment before.
    pub(crate) index: Option<IndexFile>,
    /// The checkpoint without which the segment would mean nothing.
    pub(crate) checkpoint: Option<Checkpoint>,
}

impl Roll {
    pub(super) fn run(self, counters: &Counters) {
        let Self { log, file, header, mark, finished, dropped, index, checkpoint } = self;
        let result = guarded(&log, &file, || {
            if let Some(checkpoint) = checkpoint {
                let bytes = checkpoint.encode().ok_or_else(|| io::Error::other("the checkpoint is too large"))?;
                publish(&*log.vfs, &log.directory, FileKind::Checkpoint, file.number, &bytes)?;
            }
            let Prepared { handle, written_to, .. } = take_or_create(&log, file.number)?;
            counters.count_bytes(header.len() as u64);
            handle.write_all_at(&[IoSlice::new(&header)], 0)?;
            counters.count_sync();
            handle.sync_data()?;
            file.begin(handle, written_to);
            Ok(())
        });
        if result.is_err() {
            return;
        }
        finished.iter().chain(&dropped).for_each(|file| file.finish());
        log.synced(mark.generation, mark.through, file.number, header.len() as u64);
        if !dropped.is_empty() {
            let numbers = dropped.iter().map(|file| file.number).collect();
            log.maintenance.push(MaintenanceJob::Remove { log: log.clone(), numbers });
        }
        if let Some(index) = index {
            log.maintenance.push(MaintenanceJob::Index { log: log.clone(), index });
        }
    }
}

/// The file that was prepared for this segment, or a new one.
fn take_or_create(log: &Shared, number: u64) -> io::Result<Prepared> {
    let ready = log.prepare().ready.take_if(|ready| ready.number == number);
    match ready {
        Some(ready) => Ok(ready),
        None => create(&*log.vfs, &log.directory, number, 0),
    }
}

/// Creates a segment's file with zeros up to the first step, at most `limit`, durable with its name.
pub(super) fn create(vfs: &dyn Vfs, directory: &Path, number: u64, limit: u64) -> io::Result<Prepared> {
    let path = FileKind::Segment.path(directory, number);
    let handle = vfs.create(&path)?;
    let zeros = zeros_to_step(0, limit);
    if !zeros.is_empty() {
        handle.write_all_at(&[IoSlice::new(zeros)], 0)?;
        handle.sync_data()?;
    }
    vfs.sync_directory(directory)?;
    Ok(Prepared { number, handle, written_to: zeros.len() as u64 })
}

/// Creates the first segment of a new log, on the caller's thread.
pub(crate) fn create_first(vfs: &dyn Vfs, directory: &Path, header: &Bytes) -> io::Result<Arc<dyn VfsFile>> {
    let Prepared { handle, .. } = create(vfs, directory, 0, 0)?;
    handle.write_all_at(&[IoSlice::new(header)], 0)?;
    handle.sync_data()?;
    Ok(handle)
}
