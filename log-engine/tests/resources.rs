//! What the engine takes of memory and files: nothing for a record, little for a log that does nothing, and a bounded
//! number of open files. Allocations are counted over all threads by an allocator that wraps the system's.
//!
//! `benches/figures` tells the same of logs as many and as large as they get.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    alloc::System,
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::channel},
    time::Duration,
};

use bytes::Bytes;
use quorate_log_engine::{
    EngineOptions, Frame, FrameKind, Log, LogEngine, LogOptions, ReadPlan, ReadStart, RealVfs, RecoveredEntry,
    Recovery, Stamp,
};
use quorate_record::{BatchBuilder, Compression, ProducerStamp, Record};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const OPEN_SEGMENTS_MAX: usize = 8;

/// One test at a time: allocations and files are counted over the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Anything;

impl Recovery for Anything {
    fn restore(&mut self, _: u64, _: Bytes) -> Result<(), String> {
        Ok(())
    }

    fn entry(&mut self, _: RecoveredEntry<'_>) -> Result<(), String> {
        Ok(())
    }
}

fn engine() -> Arc<LogEngine> {
    let options = EngineOptions {
        writer_threads: 1,
        tail_cache_bytes: 0,
        open_segments_max: OPEN_SEGMENTS_MAX,
        ..EngineOptions::default()
    };
    LogEngine::start(options).unwrap()
}

fn open(engine: &Arc<LogEngine>, directory: &Path, segment_bytes: u64) -> Log {
    let options = LogOptions {
        replica: 1,
        owner: 1,
        segment_bytes,
        payload_bytes_max: 1 << 20,
        must_exist: false,
        settled_through: None,
    };
    Log::open(engine, Arc::new(RealVfs), directory, &options, &mut Anything).unwrap().log
}

/// A batch of these many records, of about 200 KiB whatever their number.
fn batch_of(record_count: usize) -> Bytes {
    let value = vec![b'x'; 200_000 / record_count - 10];
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..record_count {
        builder.push(&Record::new(value.clone(), 7));
    }
    builder.build(ProducerStamp::NONE).unwrap()
}

fn append(log: &Log, batch: &Bytes, record_count: u64) {
    let (index, base_offset) = (log.next_index(), log.end_offset());
    let frame = Frame {
        kind: FrameKind::Batch,
        term: 1,
        index,
        leader_time_ms: 7,
        expected_end_offset: None,
        payload: batch.clone(),
        stamp: Some(Stamp { base_offset, leader_epoch: 1 }),
        next_offset: base_offset + record_count,
    };
    let (sender, done) = channel();
    log.append(vec![frame], Box::new(move |result| sender.send(result).unwrap()));
    done.recv().unwrap().unwrap();
}

/// Waits until no thread has anything left to do for the log.
fn settle(engine: &LogEngine, log: &Log) {
    let (sender, done) = channel();
    log.barrier(move || sender.send(()).unwrap());
    done.recv().unwrap();
    assert!(engine.wait_for_maintenance(Duration::from_secs(60)));
}

fn read(log: &Log, index: u64, bytes_max: usize) -> Vec<Frame> {
    match log.plan_read(ReadStart::Index(index), log.next_index() - 1, bytes_max) {
        ReadPlan::Ready(frames) => {
            assert!(frames.is_empty(), "nothing is cached but the last entry");
            frames
        }
        ReadPlan::Cold(read) => read.run().unwrap(),
    }
}

/// How often `run` allocates at the least: containers grow now and then, and threads meet or miss each other.
fn allocations(mut run: impl FnMut()) -> usize {
    let counts = (0..41).map(|_| {
        let before = HEAP.stats();
        run();
        let after = HEAP.stats();
        after.allocations - before.allocations + (after.reallocations - before.reallocations)
    });
    counts.min().unwrap()
}

/// Bytes of heap in use.
fn heap() -> isize {
    let stats = HEAP.stats();
    // What reallocations add and free is in both already.
    stats.bytes_allocated.cast_signed() - stats.bytes_deallocated.cast_signed()
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn appends_and_reads_allocate_nothing_for_a_record() {
    let _alone = alone();
    let counts = [10, 10_000].map(|record_count| {
        let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
        let log = open(&engine, directory.path(), 256 << 20);
        let batch = batch_of(record_count);
        let appended = allocations(|| append(&log, &batch, record_count as u64));
        settle(&engine, &log);
        let mut index = 0;
        let read = allocations(|| {
            let frames = read(&log, index, 0);
            assert_eq!((frames.len(), frames[0].index), (1, index));
            index = (index + 1) % (log.next_index() - 1);
        });
        (appended, read)
    });
    assert_eq!(counts[0], counts[1], "(appends, reads) of 10 records and of 10,000");
    assert!(counts[0].0 > 0 && counts[0].1 > 0, "allocations are counted: {counts:?}");
}

#[test]
fn idle_logs_take_little_memory_and_a_bounded_number_of_files() {
    const LOGS: usize = 50;
    const SEGMENT: u64 = 64 << 10;
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = |at: usize| directory.path().join(at.to_string());
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(&Record::new(vec![b'x'; 20_000], 7));
    let batch = builder.build(ProducerStamp::NONE).unwrap();
    let building = engine();
    for at in 0..LOGS {
        let log = open(&building, &path(at), SEGMENT);
        // Three batches fit into a segment.
        (0..10).for_each(|_| append(&log, &batch, 1));
        settle(&building, &log);
    }

    // The other engine stays: its threads give back what they hold when they end, and that is counted too.
    let engine = engine();
    let (heap_before, files_before) = (heap(), open_files());
    let logs: Vec<Log> = (0..LOGS).map(|at| open(&engine, &path(at), SEGMENT)).collect();
    logs.iter().for_each(|log| settle(&engine, log));
    let each = (heap() - heap_before) / LOGS as isize;
    assert!((1..=64 << 10).contains(&each), "{each} bytes of heap for a log");
    assert_eq!(open_files() - files_before, LOGS, "only active segments are open");
    for log in &logs {
        let mut index = 0;
        while index + 1 < log.next_index() {
            index += read(log, index, 1).len() as u64;
        }
    }
    assert_eq!(engine.stats().open_segments, OPEN_SEGMENTS_MAX);
    assert_eq!(open_files() - files_before, LOGS + OPEN_SEGMENTS_MAX);
    let each = (heap() - heap_before) / LOGS as isize;
    assert!(each <= 64 << 10, "{each} bytes of heap for a log that was read");
}
