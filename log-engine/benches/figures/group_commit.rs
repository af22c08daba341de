//! How many appends share a sync, and what an acknowledged append costs that shares its sync with nobody.

use std::{sync::Arc, time::Instant};

use quorate_log_engine::RealVfs;

use super::{
    append::round,
    closed_loop::closed_loop,
    rounds::in_turn,
    support::{KIB, MIB, PlainFile, Producer, batch_of, directory, engine, is_quick, open},
    table::{Required, latencies, line, microseconds, quantile},
};

pub(crate) fn run() {
    sharing();
    alone();
}

fn sharing() {
    for (producer_count, required) in [(1, Required::Nothing), (64, Required::AtLeast(8.0))] {
        let (directory, engine) = (directory(), engine(1));
        let log = open(&engine, Arc::new(RealVfs), &directory.path().join("log"), 256 * MIB);
        // Producers of one partition differ in nothing but whose acknowledgement they wait for.
        let mut producers = [Producer::new(log, batch_of(KIB, 1))];
        let before = engine.stats().writers;
        let rounds = if is_quick() { 1 } else { 3 };
        let mut outcome = closed_loop(&mut producers, producer_count, |_, elapsed| elapsed < rounds * round());
        let after = engine.stats().writers;
        let (appends, syncs) = (after.requests - before.requests, after.syncs - before.syncs);
        let what = format!("{producer_count} producers of 1 KiB");
        let note = format!("{appends} appends, {syncs} syncs, {:.0} a second", {
            appends as f64 / outcome.elapsed.as_secs_f64()
        });
        line(&format!("{what}: appends per sync"), appends as f64 / syncs as f64, "", required, &note);
        latencies(&format!("{what}: acknowledged after"), &mut outcome.latencies[0], "");
    }
}

fn alone() {
    let (directory, engine) = (directory(), engine(1));
    let log = open(&engine, Arc::new(RealVfs), &directory.path().join("log"), 256 * MIB);
    let mut producer = Producer::new(log, batch_of(KIB, 1));
    let chunk = vec![b'x'; producer.frame_bytes()];
    let mut growing = PlainFile::growing(&directory.path().join("growing"));
    let mut ahead = PlainFile::written_ahead(&directory.path().join("ahead"), 16 << 20);
    let count = if is_quick() { 20 } else { 150 };
    let median = |run: &mut dyn FnMut()| {
        let mut values: Vec<f64> = (0..count)
            .map(|_| {
                let start = Instant::now();
                run();
                microseconds(start.elapsed())
            })
            .collect();
        quantile(&mut values, 0.5)
    };
    let [growing, ahead, engine] = in_turn([
        ("growing file", &mut || median(&mut || growing.write_and_sync(&chunk))),
        ("file written ahead", &mut || median(&mut || ahead.write_and_sync(&chunk))),
        ("engine", &mut || median(&mut || producer.append_and_wait())),
    ]);
    engine.compare(&growing, "1 KiB alone, p50", "us", Required::AtMost(1.25));
    engine.compare(&ahead, "1 KiB alone, p50", "us", Required::AtMost(1.25));
}
