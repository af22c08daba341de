//! How long a log takes to open when the page cache holds what is needed.
//!
//! `QUORATE_BENCH_LOG_GIB` is its size, 1 by default.

use std::{
    env,
    fs::{self, File},
    time::{Duration, Instant},
};

use quorate_log_engine::{Log, LogOptions};

use super::{
    rounds::round_count,
    support::{Anything, KIB, MIB, NoSync, Producer, batch_of, directory, engine, is_quick, open, options},
    table::{Required, line, quantile},
};

const SEGMENT: usize = 256 * MIB;

pub(crate) fn run() {
    let gib: usize = env::var("QUORATE_BENCH_LOG_GIB").map_or(1, |gib| gib.parse().unwrap());
    let bytes = if is_quick() { SEGMENT } else { gib * 1024 * MIB };
    for (what, batch) in [("64 KiB", batch_of(64 * KIB, 64)), ("1 KiB", batch_of(KIB, 1))] {
        let (directory, engine) = (directory(), engine(1));
        let path = directory.path().join("log");
        let mut producer = Producer::new(open(&engine, NoSync::vfs(), &path, SEGMENT), batch);
        // Not all of it: what an open reads is the newest segment, which is then nearly full.
        producer.fill(bytes - 4 * MIB);
        assert!(engine.wait_for_maintenance(Duration::from_secs(60)));
        let end = producer.log.next_index();
        drop(producer);
        // Lest the opens wait while the system writes back what it has put off.
        fs::read_dir(&path).unwrap().for_each(|entry| File::open(entry.unwrap().path()).unwrap().sync_all().unwrap());
        let seconds = |settled_through| -> Vec<f64> {
            let options = LogOptions { settled_through, ..options(SEGMENT) };
            let open = |_| {
                let start = Instant::now();
                let opened = Log::open(&engine, NoSync::vfs(), &path, &options, &mut Anything).unwrap();
                let elapsed = start.elapsed().as_secs_f64();
                assert_eq!(opened.log.next_index(), end);
                elapsed
            };
            (0..round_count()).map(open).collect()
        };
        let name = format!("{} MiB of {what} batches, warm", bytes / MIB);
        let mut known = seconds(Some(end - 1));
        let note = format!("slowest {:.3}", quantile(&mut known, 1.0));
        line(&name, quantile(&mut known, 0.5), "s", Required::AtMost(2.0), &note);
        // Then no checkpoint is trusted, and all of the log is scanned.
        let mut unknown = seconds(None);
        let note = format!("slowest {:.3}", quantile(&mut unknown, 1.0));
        line(&format!("{name}, nothing settled"), quantile(&mut unknown, 0.5), "s", Required::Nothing, &note);
    }
}
