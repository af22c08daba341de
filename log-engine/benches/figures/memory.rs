//! What a partition costs that does nothing: memory and open files.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, mpsc::channel},
    time::Duration,
};

use quorate_log_engine::{Log, LogEngine, ReadStart};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    HEAP,
    support::{KIB, MIB, NoSync, Producer, batch_of, directory, engine, is_quick, open, read},
    table::{Required, line},
};

/// Bytes of heap in use.
fn heap() -> isize {
    let stats = HEAP.stats();
    // What reallocations add and free is in both already.
    stats.bytes_allocated.cast_signed() - stats.bytes_deallocated.cast_signed()
}

/// KiB of the process in memory.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// Waits until no thread has anything left to do for these logs.
fn settle(engine: &LogEngine, logs: &[Log]) {
    for log in logs {
        let (sender, done) = channel();
        log.barrier(move || sender.send(()).unwrap());
        done.recv().unwrap();
    }
    assert!(engine.wait_for_maintenance(Duration::from_secs(60)));
}

pub(crate) fn run() {
    many_small();
    few_full();
}

/// Opens the logs and prints what each of them takes.
fn open_all(what: &str, engine: &Arc<LogEngine>, paths: &[PathBuf], segment_bytes: usize) -> Vec<Log> {
    let (heap_before, resident_before) = (heap(), resident());
    let logs: Vec<Log> = paths.iter().map(|path| open(engine, NoSync::vfs(), path, segment_bytes)).collect();
    settle(engine, &logs);
    let each = |bytes: f64| bytes / paths.len() as f64;
    let note = format!("resident {:.1} KiB", each(resident() - resident_before));
    let heap = each((heap() - heap_before) as f64) / KIB as f64;
    line(&format!("{what}: heap of one"), heap, "KiB", Required::AtMost(64.0), &note);
    logs
}

fn many_small() {
    const SEGMENT: usize = 64 * KIB;
    const SEGMENTS: usize = 4;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let count = if is_quick() { 50 } else { 1_000 };
    let directory = directory();
    let paths: Vec<PathBuf> = (0..count).map(|at| directory.path().join(at.to_string())).collect();
    let batch = batch_of(4 * KIB, 4);
    let building = engine(1);
    for path in &paths {
        let mut producer = Producer::new(open(&building, NoSync::vfs(), path, SEGMENT), batch.clone());
        producer.fill(SEGMENTS * SEGMENT - SEGMENT / 2);
        settle(&building, &[producer.log]);
    }
    // The other engine stays: its threads give back what they hold when they end, and that is counted too.
    let engine = engine(2);
    let before = open_files();
    let logs = open_all(&format!("{count} logs of {SEGMENTS} segments"), &engine, &paths, SEGMENT);
    line(&format!("{count} logs: open files"), (open_files() - before) as f64, "", Required::Nothing, "");
    for log in &logs {
        let mut index = 0;
        while index < log.next_index() {
            index += read(log, ReadStart::Index(index), u64::MAX, SEGMENT / 2).len() as u64;
        }
    }
    let segments_max = quorate_log_engine::EngineOptions::default().open_segments_max;
    let most = (count + segments_max + 16) as f64;
    let note = format!("{} finished segments are open", engine.stats().open_segments);
    line(
        &format!("{count} logs, all segments read: open files"),
        (open_files() - before) as f64,
        "",
        Required::AtMost(most),
        &note,
    );
}

/// The index of the active segment is as large as it gets.
fn few_full() {
    let (count, segment) = if is_quick() { (2, 32 * MIB) } else { (4, 256 * MIB) };
    let directory = directory();
    let paths: Vec<PathBuf> = (0..count).map(|at| directory.path().join(at.to_string())).collect();
    let (engine, batch) = (engine(1), batch_of(KIB, 1));
    let before = heap();
    let logs: Vec<Log> = (paths.iter())
        .map(|path| {
            let log = open(&engine, NoSync::vfs(), path, segment);
            let mut producer = Producer::new(log, batch.clone());
            producer.fill(segment - MIB);
            producer.log
        })
        .collect();
    settle(&engine, &logs);
    let what = format!("{count} logs, active segment of {} MiB full", segment / MIB);
    let each = (heap() - before) as f64 / count as f64 / KIB as f64;
    line(&format!("{what}, as written: heap of one"), each, "KiB", Required::AtMost(64.0), "");
    drop(logs);
    drop(open_all(&format!("{what}, reopened"), &engine, &paths, segment));
}
