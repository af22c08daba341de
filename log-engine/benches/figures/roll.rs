//! Acknowledged appends while their log goes from segment to segment, and those of another log of the same thread.

use std::{fs, sync::Arc};

use quorate_log_engine::RealVfs;
use tempfile::TempDir;

use super::{
    closed_loop::closed_loop,
    rounds::round_count,
    support::{KIB, MIB, Producer, batch_of, directory, engine, is_quick, open},
    table::{Required, latencies, line, quantile},
};

const SEGMENT: usize = 16 * MIB;
const BATCH: usize = 64 * KIB;
const ROLLS_A_ROUND: usize = 4;

/// Two logs of one thread, of which the first may roll.
struct Pair {
    directory: TempDir,
    producers: [Producer; 2],
    latencies: [Vec<f64>; 2],
}

impl Pair {
    fn new(segment_bytes: usize) -> Self {
        let (directory, engine) = (directory(), engine(1));
        let log = |name: &str, bytes| open(&engine, Arc::new(RealVfs), &directory.path().join(name), bytes);
        let batch = batch_of(BATCH, 64);
        let producers =
            [log("first", segment_bytes), log("second", 1024 * MIB)].map(|log| Producer::new(log, batch.clone()));
        Self { directory, producers, latencies: [Vec::new(), Vec::new()] }
    }

    /// Each appends as much as makes the first one roll, if its segments are small.
    fn round(&mut self) {
        let appends = 2 * (if is_quick() { 1 } else { ROLLS_A_ROUND } * SEGMENT / BATCH + 1);
        let outcome = closed_loop(&mut self.producers, 1, |count, _| count < appends);
        self.latencies.iter_mut().zip(outcome.latencies).for_each(|(all, more)| all.extend(more));
    }

    /// How many segments the first one has.
    fn segments(&self) -> usize {
        let files = fs::read_dir(self.directory.path().join("first")).unwrap().flatten();
        files.filter(|entry| entry.path().extension().is_some_and(|name| name == "log")).count()
    }
}

pub(crate) fn run() {
    let [mut with, mut without] = [Pair::new(SEGMENT), Pair::new(1024 * MIB)];
    for _ in 0..round_count() {
        with.round();
        without.round();
    }
    assert!(with.segments() > round_count(), "it has rolled");
    for (at, name) in ["the log that rolls", "the other log"].into_iter().enumerate() {
        let note = format!("in {} segments", with.segments());
        latencies(&format!("64 KiB, {name}, with rolls"), &mut with.latencies[at], &note);
        latencies(&format!("64 KiB, {name}, without"), &mut without.latencies[at], "");
        for (part, what) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "max")] {
            let [with, without] = [&mut with, &mut without].map(|pair| quantile(&mut pair.latencies[at], part));
            let note = format!("{with:.0} to {without:.0} us");
            line(&format!("{name}: {what} with / without"), with / without, "ratio", Required::Nothing, &note);
        }
    }
}
