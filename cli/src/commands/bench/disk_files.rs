//! Files that are written and synced step by step, side by side: what any durable log could reach on this disk.
//!
//! Steps go into blocks that were written before, so that a sync commits no metadata: nothing is faster. Or they go, one
//! behind the other, into blocks that are reserved and were never written: what a plain preallocated log could reach.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::acks::Measured;
use crate::error::Failure;

/// The size of a file; steps begin again at its start.
pub(super) const FILE_BYTES: usize = 64 << 20;
/// How much is written at once where the time is not taken.
const FILL_BYTES: usize = 1 << 20;

/// Where the steps go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocks {
    /// Into blocks that were written before.
    Written,
    /// Into blocks that are reserved, each of them once. A full file begins anew.
    Reserved,
}

/// One of the files. It is removed when dropped.
struct DiskFile {
    file: File,
    path: PathBuf,
    blocks: Blocks,
}

/// Writes `files` files in steps of `step` bytes for that time, or until `stop` is set. One step is one write and one
/// `fdatasync`.
pub(super) fn write_and_sync(
    dir: &Path,
    files: u32,
    (step, blocks): (usize, Blocks),
    time: Duration,
    stop: &AtomicBool,
) -> Result<(Measured, Duration), Failure> {
    let failed = |path: &Path, error| {
        Failure::message(format!("cannot write {}, {error}, choose another --dir", path.display()))
    };
    let mut made = Vec::new();
    for number in 0..files {
        let path = dir.join(format!(".quorate-bench-disk-{}-{number}", std::process::id()));
        made.push(DiskFile::create(&path, blocks, stop).map_err(|error| failed(&path, error))?);
    }
    let mut block = vec![0; step];
    rand::fill(&mut block[..]);
    let began = Instant::now();
    let end = began + time;
    let results: Vec<_> = thread::scope(|scope| {
        let block = &block;
        let writing: Vec<_> =
            made.iter().map(|file| (file, scope.spawn(move || file.write_steps(block, end, stop)))).collect();
        let joined = writing.into_iter().map(|(file, thread)| (file, thread.join()));
        joined.collect()
    });
    let mut parts = Vec::new();
    for (file, result) in results {
        let written = result.map_err(|_| Failure::message("a writer stopped, try again"))?;
        parts.push(written?.map_err(|error| failed(&file.path, error))?);
    }
    let measured = Measured::sum(parts)?;
    let took = measured.took(began);
    Ok((measured, took))
}

impl DiskFile {
    /// Makes a file whose blocks are all written, or reserved, and on stable storage.
    fn create(path: &Path, blocks: Blocks, stop: &AtomicBool) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        let made = Self { file, path: path.to_owned(), blocks };
        if blocks == Blocks::Reserved {
            made.reserve()?;
            return Ok(made);
        }
        let zeros = vec![0; FILL_BYTES];
        for start in (0..FILE_BYTES).step_by(FILL_BYTES) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            made.file.write_all_at(&zeros, start as u64)?;
        }
        made.file.sync_all()?;
        Ok(made)
    }

    /// Drops the blocks the file has and reserves new ones, where the system can do that; elsewhere the file grows.
    fn reserve(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        #[cfg(target_os = "linux")]
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), 0, FILE_BYTES as u64) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        self.file.sync_all()
    }

    fn write_steps(&self, block: &[u8], end: Instant, stop: &AtomicBool) -> Result<io::Result<Measured>, Failure> {
        let mut measured = Measured::nothing()?;
        // A step is at most a file, and at least a byte.
        let starts = (0..=FILE_BYTES - block.len()).step_by(block.len().max(1)).cycle();
        for (number, start) in starts.enumerate() {
            if start == 0
                && number > 0
                && self.blocks == Blocks::Reserved
                && let Err(error) = self.reserve()
            {
                return Ok(Err(error));
            }
            let began = Instant::now();
            if began >= end || stop.load(Ordering::Relaxed) {
                break;
            }
            let step = self.file.write_all_at(block, start as u64).and_then(|()| self.file.sync_data());
            if let Err(error) = step {
                return Ok(Err(error));
            }
            measured.note(began, Instant::now());
        }
        Ok(Ok(measured))
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        // What cannot be removed is left behind under a name that says whose it is.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_and_no_file_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let time = Duration::from_millis(50);
        for (step, blocks) in [(5_000, Blocks::Written), (5_000, Blocks::Reserved), (FILE_BYTES / 2, Blocks::Reserved)]
        {
            let (measured, took) =
                write_and_sync(dir.path(), 2, (step, blocks), time, &AtomicBool::new(false)).unwrap();
            assert!(measured.latencies.len() >= 2 && took >= Duration::from_millis(1), "{measured:?} {took:?}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn it_stops_when_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let (measured, _) =
            write_and_sync(dir.path(), 1, (4096, Blocks::Written), Duration::from_secs(600), &AtomicBool::new(true))
                .unwrap();
        assert_eq!(measured.latencies.len(), 0);
        assert!(began.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let failure = write_and_sync(
            Path::new("/nonexistent"),
            1,
            (4096, Blocks::Written),
            Duration::ZERO,
            &AtomicBool::new(false),
        )
        .unwrap_err();
        assert!(failure.to_string().starts_with("cannot write /nonexistent/"), "{failure}");
    }
}
