//! Reads of what the page cache holds, by one thread, every checksum verified; nothing comes from the tail cache.

use std::time::Instant;

use quorate_log_engine::{Log, ReadStart};

use super::{
    rounds::in_turn,
    support::{KIB, MIB, NoSync, PlainFile, Producer, batch_of, directory, engine, is_quick, open, read, read_through},
    table::{Required, line, microseconds, quantile},
};

const SEGMENT: usize = 256 * MIB;
const READ: usize = MIB;

pub(crate) fn run() {
    for (what, size) in [("64 KiB", 64 * KIB), ("16 KiB", 16 * KIB), ("1 KiB", KIB)] {
        let (directory, engine) = (directory(), engine(1));
        let log = open(&engine, NoSync::vfs(), &directory.path().join("log"), SEGMENT);
        let bytes = if is_quick() { 320 * MIB } else { 1024 * MIB };
        let mut producer = Producer::new(log, batch_of(size, 1));
        producer.fill(bytes);
        // The last one stays in memory, cache or not.
        let (log, end) = (&producer.log, producer.log.next_index() - 1);
        assert!(engine.wait_for_maintenance(std::time::Duration::from_secs(60)));
        let mut plain = PlainFile::growing(&directory.path().join("plain"));
        (0..bytes / READ).for_each(|_| plain.write(&vec![b'x'; READ]));
        read_through(log, end, READ);
        sequential(what, log, end, &plain);
        if size <= 16 * KIB {
            random(what, log, end, size);
        }
    }
}

fn sequential(what: &str, log: &Log, end: u64, plain: &PlainFile) {
    let gigabytes_per_second = |read: &mut dyn FnMut() -> u64| {
        let start = Instant::now();
        read() as f64 / 1e9 / start.elapsed().as_secs_f64()
    };
    let mut chunk = vec![0; READ];
    let [plain, engine] = in_turn([
        ("plain reads", &mut || gigabytes_per_second(&mut || plain.read_through(&mut chunk))),
        ("engine", &mut || gigabytes_per_second(&mut || read_through(log, end, READ))),
    ]);
    line(&format!("{what} in order, one core: engine"), engine.median(), "GB/s", Required::AtLeast(2.0), "");
    engine.compare(&plain, &format!("{what} in order"), "GB/s", Required::Nothing);
}

fn random(what: &str, log: &Log, end: u64, size: usize) {
    let count = if is_quick() { 1_000 } else { 20_000 };
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut values: Vec<f64> = (0..count)
        .map(|_| {
            // xorshift64
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let offset = seed % end;
            let start = Instant::now();
            let frames = read(log, ReadStart::Offset(offset), end, size);
            let elapsed = microseconds(start.elapsed());
            assert!(frames.first().is_some_and(|frame| frame.index == offset), "a batch has one record");
            elapsed
        })
        .collect();
    line(&format!("{what} by offset: p50"), quantile(&mut values, 0.5), "us", Required::Nothing, "");
    let note = format!("max {:.0} of {count}", quantile(&mut values, 1.0));
    line(&format!("{what} by offset: p99"), quantile(&mut values, 0.99), "us", Required::AtMost(100.0), &note);
}
