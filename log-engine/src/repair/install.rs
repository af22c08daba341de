//! Putting a repaired segment in the place of the damaged one.
//!
//! Done by the maintenance thread, which alone removes segments and writes indexes while a log is open: what is on the
//! chain when an installation begins is removed after it, if at all.
//!
//! The index goes first, for good: of the damaged segment it may name places where frames of the repaired one do not
//! begin. Then the file takes its name: a crash leaves the damaged or the repaired one, both of them whole. In memory the
//! segment gets another [`SegmentFile`], so that who still reads the old file learns that it is outdated.

use std::{
    io,
    sync::{Arc, mpsc::SyncSender},
};

use super::{RepairError, Target, error::at};
use crate::{
    IndexFile,
    format::FileKind,
    segment_file::SegmentFile,
    shared::Shared,
    write::{publish, unfinished},
};

/// A segment that is rebuilt, synced and verified, in a file that is not finished.
#[derive(Debug)]
pub(crate) struct Install {
    pub(super) log: Arc<Shared>,
    pub(super) target: Target,
    pub(super) index: IndexFile,
    pub(super) done: SyncSender<Result<(), RepairError>>,
}

impl Install {
    pub(crate) fn run(self) {
        let result = self.install();
        // Nobody may wait any more.
        self.done.send(result).ok();
    }

    fn install(&self) -> Result<(), RepairError> {
        let Self { log, target, index, .. } = self;
        let (vfs, directory, file) = (&*log.vfs, &*log.directory, &target.file);
        if log.is_closed() || !target.is_current(&log.lock()) {
            return Err(target.outdated());
        }
        let index_path = FileKind::Index.path(directory, file.number);
        match vfs.remove_file(&index_path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => {
                result.map_err(at(index_path))?;
                vfs.sync_directory(directory).map_err(at(directory))?;
            }
        }
        vfs.rename(&unfinished(&file.path), &file.path).map_err(at(&file.path))?;
        let mut state = log.lock();
        if let Some(segment) = state.segments.iter_mut().find(|segment| Arc::ptr_eq(&segment.file, file)) {
            segment.file = SegmentFile::planned(directory, file.number);
        }
        drop(state);
        log.open_segments.forget(log.id, file.number);
        vfs.sync_directory(directory).map_err(at(directory))?;
        log.forget_holes_of(&file.path);
        if let Some(bytes) = index.encode()
            && let Err(error) = publish(vfs, directory, FileKind::Index, index.segment, &bytes)
        {
            tracing::warn!(directory = %directory.display(), %error, "could not write an index; it is made anew when missed");
        }
        Ok(())
    }
}
