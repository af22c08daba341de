//! Mending a finished segment in place, with entries that peers still have.
//!
//! The format stays as it is: a repaired segment has the old one's header checksum, byte positions of all that was sound,
//! length and seal, so that neither the segment behind it nor any checkpoint has to be touched.
//!
//! *A gap* ([`gap`]) is what lies between two sound frames. Its entries are fetched and encoded as they were; the terms,
//! the offsets and the number of bytes are known from the rest of the log, and everything that does not fit is refused
//! before anything is changed. What remains of the gap was local frames, whose size is known too. The last frame of a gap
//! gets the checksum that the frame behind it names, by reserved bytes of its header ([`crate::format`]).
//!
//! **Invariant: local frames of a finished segment never count.** The newest segment is never repaired, its header holds
//! the vote and the start of the log of the time when it began, and only frames behind that are newer. A recovery that
//! scans a repaired segment comes by the newest header last. So the place of lost local frames may be filled with log
//! starts at the beginning of the log, which every later header and frame overrides, and a rebuilt header holds no vote.
//! (Votes would not do: a header that holds none, since there was none, leaves in force what came before it.)
//!
//! **Invariant: durable marks of a finished segment never count.** Torn or corrupt is asked of the newest one alone. Those
//! of rebuilt frames say "none".
//!
//! *The start of the log* may lie within the segment. Nobody has what lies before it, and nobody reads it: it stays lost,
//! at the place where it was.
//!
//! *Order*: the new file is written beside the old one and synced; read as a whole and verified; then put in its place
//! ([`install`]). Memory is bounded by a few chunks of 1 MiB and by what one fetch returns.

mod error;
mod gap;
mod install;
mod rebuild;
mod remains;
mod sink;
mod target;
mod verify;

pub use error::RepairError;
pub(crate) use install::Install;
pub(crate) use target::Target;

use std::{
    io,
    ops::Range,
    path::Path,
    sync::{Arc, mpsc::sync_channel},
};

use error::at;
use rebuild::{Fetch, Rebuild};
use remains::Remains;

use crate::{
    IndexFile, Log,
    shared::Shared,
    write::{MaintenanceJob, unfinished},
};

/// A segment in which damage is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedSegment {
    /// Its number.
    pub number: u64,
    /// The log indexes of the entries in each hole known, in the order in which they were found; those of a hole in which
    /// only local frames are lost are empty.
    pub holes: Vec<Range<u64>>,
    /// Whether it can be repaired: it is finished and on stable storage. The active one can after [`Log::seal`].
    pub finished: bool,
}

/// What a repair has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Entries put back.
    pub entries: u64,
    /// Bytes that were lost and are rebuilt: of entries, of local frames and of the segment's header.
    pub bytes: u64,
}

impl Log {
    /// The segments in which damage is known, oldest first: see [`Log::holes`].
    #[must_use]
    pub fn damaged_segments(&self) -> Vec<DamagedSegment> {
        let state = self.shared().lock();
        let holes = self.shared().holes();
        let damaged = |segment: &crate::state::Segment| {
            let of_it = holes.iter().filter(|hole| hole.path == segment.file.path);
            let holes: Vec<_> = of_it.map(|hole| hole.indexes.clone()).collect();
            let number = segment.extent.number;
            let finished = target::is_finished(&state, number);
            (!holes.is_empty()).then_some(DamagedSegment { number, holes, finished })
        };
        state.segments.iter().filter_map(damaged).collect()
    }

    /// Rebuilds what is damaged in a finished segment, all of it. Blocks; one repair of a log at a time.
    ///
    /// `fetch` is asked for entries by their log indexes, and returns the first ones of these, at least one. Each must
    /// carry its term, times, expected end offset, payload and, for a batch that was accepted, its stamp; the next offset
    /// is not looked at. It may be asked for the same entries twice. How fast it goes is up to `fetch`.
    ///
    /// A segment in which nothing is found damaged is left as it is, and its holes are forgotten: a disk may recover.
    ///
    /// # Errors
    /// See [`RepairError`].
    pub fn repair(&self, segment: u64, fetch: &mut Fetch<'_>) -> Result<RepairReport, RepairError> {
        let log = self.shared();
        let _one = log.repairing();
        if let Some(failure) = log.failure() {
            return Err(RepairError::Failed(failure.clone()));
        }
        let target = Target::find(log, segment)?;
        let path = unfinished(&target.file.path);
        let result = repair(log, &target, &path, fetch);
        match &result {
            Ok(RepairReport { entries, bytes }) => {
                tracing::info!(path = %target.file.path.display(), entries, bytes, "a segment was repaired");
            }
            Err(error) => {
                // Most often it is not there. Where it cannot be removed, the next open does it.
                log.vfs.remove_file(&path).ok();
                // Entries that the log has given up meanwhile fit no more.
                if !matches!(error, RepairError::Io { .. }) && !target.is_current(&log.lock()) {
                    return Err(target.outdated());
                }
            }
        }
        result
    }
}

fn repair(log: &Arc<Shared>, target: &Target, path: &Path, fetch: &mut Fetch<'_>) -> Result<RepairReport, RepairError> {
    let file = &target.file;
    let handle = match log.vfs.open_read_only(&file.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        opened => Some(opened.map_err(at(&file.path))?),
    };
    let source = Remains { handle, size: target.extent.end };
    let mut rebuild =
        Rebuild { log, target, source: &source, path, fetch, sink: None, report: RepairReport::default() };
    rebuild.run()?;
    let Rebuild { sink, report, .. } = rebuild;
    let Some(sink) = sink else {
        verify::verify(log, target, &source)?;
        // An earlier repair may have ended before this.
        log.vfs.sync_directory(&log.directory).map_err(at(&log.directory))?;
        log.forget_holes_of(&file.path);
        return Ok(report);
    };
    let rebuilt = sink.finish().map_err(at(path))?;
    let index = verify::verify(log, target, &*rebuilt)?;
    let index = IndexFile { segment: file.number, segment_checksum: target.extent.head_checksum, index };
    let (done, finished) = sync_channel(1);
    let install = Install { log: log.clone(), target: target.clone(), index, done };
    if !log.maintenance.push_waiting(MaintenanceJob::Install(Box::new(install))) {
        return Err(target.outdated());
    }
    finished.recv().unwrap_or_else(|_| Err(target.outdated()))?;
    Ok(report)
}
