//! Durable appends, in bytes per second, to loops that write a chunk and `fdatasync` it.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use quorate_log_engine::RealVfs;
use tempfile::TempDir;

use super::{
    closed_loop::closed_loop,
    rounds::in_turn,
    support::{KIB, MIB, PlainFile, Producer, batch_of, directory, engine, is_quick, open},
    table::Required,
};

const PARTITIONS: usize = 16;
const WRITER_THREADS: usize = 2;

pub(crate) fn round() -> Duration {
    Duration::from_millis(if is_quick() { 100 } else { 800 })
}

/// One thread that writes and syncs its files in turn; MiB per second.
fn plain_loop(files: &mut [PlainFile], chunk: &[u8]) -> f64 {
    let (start, mut bytes) = (Instant::now(), 0);
    while start.elapsed() < round() {
        for file in &mut *files {
            file.write_and_sync(chunk);
            bytes += chunk.len();
        }
    }
    bytes as f64 / MIB as f64 / start.elapsed().as_secs_f64()
}

fn files(directory: &TempDir, name: &str, count: usize) -> Vec<PlainFile> {
    (0..count).map(|at| PlainFile::growing(&directory.path().join(format!("{name}-{at}")))).collect()
}

fn producers(directory: &TempDir, count: usize, batch_bytes: usize) -> Vec<Producer> {
    let engine = engine(WRITER_THREADS);
    let batch = batch_of(batch_bytes, 64);
    let log = |at: usize| open(&engine, Arc::new(RealVfs), &directory.path().join(at.to_string()), 256 * MIB);
    (0..count).map(|at| Producer::new(log(at), batch.clone())).collect()
}

pub(crate) fn run() {
    many_partitions(1);
    many_partitions(4);
    one_partition(1);
    one_partition(8);
}

fn many_partitions(in_flight: usize) {
    let directory = directory();
    let chunk = vec![b'x'; 64 * KIB];
    let (mut one, mut many) = (files(&directory, "one", 1), files(&directory, "many", PARTITIONS));
    let mut producers = producers(&directory, PARTITIONS, 64 * KIB);
    let [one, many, engine] = in_turn([
        ("one file", &mut || plain_loop(&mut one, &chunk)),
        ("2 threads of 8 files", &mut || {
            let chunk = &chunk;
            let loops = many.chunks_mut(PARTITIONS / WRITER_THREADS);
            thread::scope(|scope| {
                let loops: Vec<_> = loops.map(|files| scope.spawn(move || plain_loop(files, chunk))).collect();
                loops.into_iter().map(|result| result.join().unwrap()).sum()
            })
        }),
        ("engine", &mut || closed_loop(&mut producers, in_flight, |_, elapsed| elapsed < round()).mib_per_second()),
    ]);
    let what = format!("16 x 64 KiB, {in_flight} in flight");
    engine.compare(&one, &what, "MiB/s", Required::AtLeast(0.8));
    engine.compare(&many, &what, "MiB/s", Required::AtLeast(0.8));
}

fn one_partition(in_flight: usize) {
    let directory = directory();
    let chunk = vec![b'x'; 256 * KIB];
    let mut plain = files(&directory, "one", 1);
    let mut producers = producers(&directory, 1, 256 * KIB);
    let [plain, engine] = in_turn([
        ("one file", &mut || plain_loop(&mut plain, &chunk)),
        ("engine", &mut || closed_loop(&mut producers, in_flight, |_, elapsed| elapsed < round()).mib_per_second()),
    ]);
    let what = format!("1 x 256 KiB, {in_flight} in flight");
    engine.compare(&plain, &what, "MiB/s", Required::AtLeast(0.8));
}
