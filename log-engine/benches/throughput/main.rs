//! Throughput of the paths that matter, by Criterion: appends with and without sync, and reads of what the page cache
//! holds; each beside the plain system calls it comes down to.
//!
//! Criterion compares with its last run. What the engine is held to is in `figures`.

#![allow(clippy::unwrap_used, reason = "benchmarks")]

#[path = "../support/mod.rs"]
mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quorate_log_engine::RealVfs;
use support::{KIB, MIB, NoSync, PlainFile, Producer, batch_of, directory, engine, is_quick, open, read_through};

/// Bytes after which an endless file begins anew.
const FILE_MAX: usize = 256 * MIB;

/// One append at a time, acknowledged when it is on stable storage.
fn durable_append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("durable_append");
    for size in [64 * KIB, 256 * KIB] {
        let (directory, engine) = (directory(), engine(1));
        let log = open(&engine, Arc::new(RealVfs), &directory.path().join("log"), FILE_MAX);
        let mut producer = Producer::new(log, batch_of(size, 64));
        let mut plain = PlainFile::growing(&directory.path().join("plain"));
        let chunk = vec![b'x'; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("plain", size), |bencher| bencher.iter(|| plain.write_and_sync(&chunk)));
        let mut ahead = PlainFile::written_ahead(&directory.path().join("ahead"), (16 * MIB) as u64);
        let ahead = &mut || ahead.write_and_sync(&chunk);
        group.bench_function(BenchmarkId::new("plain_written_ahead", size), |bencher| bencher.iter(&mut *ahead));
        group.bench_function(BenchmarkId::new("engine", size), |bencher| bencher.iter(|| producer.append_and_wait()));
    }
    group.finish();
}

/// 16 MiB of appends to a file system that syncs nothing.
fn unsynced_append(criterion: &mut Criterion) {
    const BYTES: usize = 16 * MIB;
    let mut group = criterion.benchmark_group("unsynced_append");
    group.throughput(Throughput::Bytes(BYTES as u64));
    // What is removed before it reaches the disk costs nothing: only the writes are timed.
    let timed = |iterations: u64, run: &mut dyn FnMut(u64) -> Duration| {
        let at_once = (FILE_MAX / BYTES) as u64;
        let whole = (0..iterations / at_once).map(|_| run(at_once)).sum::<Duration>();
        whole + run(iterations % at_once)
    };
    for size in [KIB, MIB] {
        group.bench_function(BenchmarkId::new("plain", size), |bencher| {
            let chunk = vec![b'x'; size];
            bencher.iter_custom(|iterations| {
                timed(iterations, &mut |iterations| {
                    let directory = directory();
                    let mut file = PlainFile::growing(&directory.path().join("plain"));
                    let start = Instant::now();
                    (0..iterations as usize * BYTES / size).for_each(|_| file.write(&chunk));
                    start.elapsed()
                })
            });
        });
        group.bench_function(BenchmarkId::new("engine", size), |bencher| {
            let (batch, engine) = (batch_of(size, 1), engine(1));
            bencher.iter_custom(|iterations| {
                timed(iterations, &mut |iterations| {
                    let directory = directory();
                    let log = open(&engine, NoSync::vfs(), &directory.path().join("log"), FILE_MAX);
                    let mut producer = Producer::new(log, batch.clone());
                    let start = Instant::now();
                    (0..iterations).for_each(|_| producer.fill(BYTES));
                    start.elapsed()
                })
            });
        });
    }
    group.finish();
}

/// 64 MiB read in order, 1 MiB at a time.
fn warm_read(criterion: &mut Criterion) {
    const BYTES: usize = 64 * MIB;
    let mut group = criterion.benchmark_group("warm_read");
    group.throughput(Throughput::Bytes(BYTES as u64));
    let directory = directory();
    let mut plain = PlainFile::growing(&directory.path().join("plain"));
    let mut chunk = vec![b'x'; MIB];
    (0..BYTES / MIB).for_each(|_| plain.write(&chunk));
    group.bench_function("plain", |bencher| bencher.iter(|| plain.read_through(&mut chunk)));
    for size in [KIB, 64 * KIB] {
        let engine = engine(1);
        let log = open(&engine, NoSync::vfs(), &directory.path().join(size.to_string()), FILE_MAX);
        let mut producer = Producer::new(log, batch_of(size, 1));
        producer.fill(BYTES);
        let (log, end) = (&producer.log, producer.log.next_index() - 1);
        group.bench_function(BenchmarkId::new("engine", size), |bencher| {
            bencher.iter(|| read_through(log, end, MIB));
        });
    }
    group.finish();
}

fn configuration() -> Criterion {
    let (warm_up, measurement) = if is_quick() { (50, 200) } else { (500, 3_000) };
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(warm_up))
        .measurement_time(Duration::from_millis(measurement))
}

criterion_group! {
    name = throughput;
    config = configuration();
    targets = durable_append, unsynced_append, warm_read
}
criterion_main!(throughput);
