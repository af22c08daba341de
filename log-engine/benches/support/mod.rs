//! What the benchmarks share: where they put their files, how they open a log, and what they compare it with.
//!
//! `QUORATE_BENCH_DIR` names the directory to measure in, by default one beside the build: it should be on a disk, not in
//! memory. `QUORATE_BENCH_QUICK=1` makes a run short, to see that it works; its figures mean little.

mod no_sync;
mod plain;
mod producer;

pub(crate) use no_sync::NoSync;
pub(crate) use plain::PlainFile;
pub(crate) use producer::{Producer, batch_of};

use std::{env, path::Path, sync::Arc};

use bytes::Bytes;
use quorate_log_engine::{
    EngineOptions, Frame, Log, LogEngine, LogOptions, ReadPlan, ReadStart, RecoveredEntry, Recovery, Vfs,
};
use tempfile::TempDir;

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;

/// Whether the run only has to show that it works.
pub(crate) fn is_quick() -> bool {
    env::var_os("QUORATE_BENCH_QUICK").is_some_and(|value| value != "0")
}

/// A directory of its own, removed when dropped.
pub(crate) fn directory() -> TempDir {
    let place = env::var("QUORATE_BENCH_DIR").unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").to_owned());
    std::fs::create_dir_all(&place).unwrap();
    TempDir::with_prefix_in("log-engine-bench-", place).unwrap()
}

/// An engine without a tail cache, so that everything durable is read from its file.
pub(crate) fn engine(writer_threads: usize) -> Arc<LogEngine> {
    LogEngine::start(EngineOptions { writer_threads, tail_cache_bytes: 0, ..EngineOptions::default() }).unwrap()
}

/// Takes what the log holds, as quickly as can be.
pub(crate) struct Anything;

impl Recovery for Anything {
    fn restore(&mut self, _: u64, _: Bytes) -> Result<(), String> {
        Ok(())
    }

    fn entry(&mut self, _: RecoveredEntry<'_>) -> Result<(), String> {
        Ok(())
    }
}

pub(crate) fn options(segment_bytes: usize) -> LogOptions {
    LogOptions {
        replica: 1,
        owner: 1,
        segment_bytes: segment_bytes as u64,
        payload_bytes_max: 16 << 20,
        must_exist: false,
        settled_through: None,
    }
}

pub(crate) fn open(engine: &Arc<LogEngine>, vfs: Arc<dyn Vfs>, directory: &Path, segment_bytes: usize) -> Log {
    Log::open(engine, vfs, directory, &options(segment_bytes), &mut Anything).unwrap().log
}

/// Reads once, from the disk.
pub(crate) fn read(log: &Log, start: ReadStart, end_index: u64, bytes_max: usize) -> Vec<Frame> {
    match log.plan_read(start, end_index, bytes_max) {
        ReadPlan::Ready(frames) => {
            assert!(frames.is_empty(), "the tail holds nothing of what is asked for");
            frames
        }
        ReadPlan::Cold(read) => read.run().unwrap(),
    }
}

/// Reads all entries below `end_index` in order, so many bytes at a time; returns the bytes of their payloads.
pub(crate) fn read_through(log: &Log, end_index: u64, bytes_max: usize) -> u64 {
    let (mut index, mut bytes) = (0, 0);
    while index < end_index {
        let frames = read(log, ReadStart::Index(index), end_index, bytes_max);
        assert!(frames.first().is_some_and(|frame| frame.index == index), "a read goes on where the last one ended");
        index += frames.len() as u64;
        bytes += frames.iter().map(|frame| frame.payload.len() as u64).sum::<u64>();
    }
    assert_eq!(index, end_index);
    bytes
}
