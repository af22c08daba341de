//! What one round writes and syncs.
//!
//! A small write that passes the written part of its file is followed, in the same system call, by zeros up to the next
//! step. Writes into written blocks change no metadata, so that their `fdatasync` commits nothing but data; only one in
//! many pays for the growth of the file. Unlike `fallocate`, zeros leave no unwritten extents to be converted by each sync;
//! unlike files zeroed as a whole, they cost no second pass over the disk before they pay.
//!
//! What is synced is given up to the page cache: those who read what was just written find it in the tail cache, and memory
//! that is used again and again is far cheaper to write into than memory that the system must find and clear first.

use std::{
    io::{self, IoSlice},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;

use super::writers::{Completion, Counters, Mark, WriteJob};
use crate::{LogFailure, segment_file::SegmentFile, shared::Shared};

/// Files grow by this many bytes at least, if their writes are small.
pub(crate) const GROWTH_STEP: u64 = 512 << 10;
/// Writes of this many bytes or more gain nothing from zeros ahead.
const SMALL_WRITE_BELOW: u64 = 128 << 10;

static ZEROS: [u8; GROWTH_STEP as usize] = [0; GROWTH_STEP as usize];

/// Zeros that bring a file from `end` to the end of its step, at most to `limit`.
pub(crate) fn zeros_to_step(end: u64, limit: u64) -> &'static [u8] {
    let to = (end + 1).next_multiple_of(GROWTH_STEP).min(limit.max(end));
    &ZEROS[..(to - end) as usize]
}

/// Adjacent bytes of one log that a round writes and syncs together.
pub(super) struct Dirty {
    pub(super) log: Arc<Shared>,
    file: Arc<SegmentFile>,
    position: u64,
    end: u64,
    parts: Vec<Bytes>,
    mark: Mark,
    done: Vec<Completion>,
}

impl Dirty {
    pub(super) fn new(write: WriteJob) -> Self {
        let size: u64 = write.parts.iter().map(|part| part.len() as u64).sum();
        Self {
            log: write.log,
            file: write.file,
            position: write.position,
            end: write.position + size,
            parts: write.parts,
            mark: write.mark,
            done: write.done.into_iter().collect(),
        }
    }

    /// Joins the next write of the same log.
    pub(super) fn join(&mut self, write: WriteJob) {
        let next = Self::new(write);
        assert!(
            self.file.number == next.file.number && self.end == next.position,
            "a log's writes are adjacent between rolls"
        );
        (self.end, self.mark) = (next.end, next.mark);
        self.parts.extend(next.parts);
        self.done.extend(next.done);
    }

    fn write(&self, counters: &Counters) -> Result<(), LogFailure> {
        guarded(&self.log, &self.file, || {
            let mut slices: Vec<IoSlice<'_>> = self.parts.iter().map(|part| IoSlice::new(part)).collect();
            let mut written_to = self.end;
            if self.end - self.position < SMALL_WRITE_BELOW && self.end > self.file.written_to() {
                let zeros = zeros_to_step(self.end, self.log.segment_bytes);
                written_to += zeros.len() as u64;
                slices.push(IoSlice::new(zeros));
            }
            counters.count_bytes(self.end - self.position);
            self.file.writing().ok_or_else(not_open)?.write_all_at(&slices, self.position)?;
            self.file.set_written_to(written_to);
            Ok(())
        })
    }

    fn sync(&self, counters: &Counters) -> Result<(), LogFailure> {
        guarded(&self.log, &self.file, || {
            counters.count_sync();
            let handle = self.file.writing().ok_or_else(not_open)?;
            let began = Instant::now();
            handle.sync_data()?;
            counters.count_sync_time(began.elapsed());
            if let Some(bytes) = self.file.give_up(self.end) {
                handle.will_not_need(bytes);
            }
            Ok(())
        })
    }
}

fn not_open() -> io::Error {
    io::Error::other("the segment is not open for writing")
}

/// Writes all, then syncs one by one, so that the device has work while the first sync waits; then tells everybody.
pub(super) fn commit(dirty: Vec<Dirty>, counters: &Counters) {
    let written: Vec<_> = dirty
        .into_iter()
        .map(|run| {
            let result = run.write(counters);
            (run, result)
        })
        .collect();
    for (run, result) in written {
        let result = result.and_then(|()| run.sync(counters));
        if result.is_ok() {
            run.log.synced(run.mark.generation, run.mark.through, run.file.number, run.end);
        }
        run.done.into_iter().for_each(|done| done(result.clone()));
    }
}

/// Runs an operation on a file unless the log is poisoned, and poisons it if the operation fails.
pub(super) fn guarded(
    log: &Shared,
    file: &SegmentFile,
    operation: impl FnOnce() -> io::Result<()>,
) -> Result<(), LogFailure> {
    if let Some(failure) = log.failure() {
        return Err(failure.clone());
    }
    let failed = |error: io::Error| {
        log.poison(&format!("{}: {error}", file.path.display()), error.kind() == io::ErrorKind::StorageFull)
    };
    operation().map_err(failed)
}
