//! Appends to a file system that syncs nothing: what the engine itself costs.

use std::time::Instant;

use super::{
    rounds::in_turn,
    support::{KIB, MIB, NoSync, PlainFile, Producer, batch_of, directory, engine, is_quick, open},
    table::{Required, line},
};

pub(crate) fn run() {
    let bytes = if is_quick() { 64 * MIB } else { 1024 * MIB };
    for (what, size) in [("1 MiB", MIB), ("64 KiB", 64 * KIB), ("1 KiB", KIB)] {
        let batch = batch_of(size, 1);
        let gigabytes_per_second = |start: Instant| bytes as f64 / 1e9 / start.elapsed().as_secs_f64();
        // Each round in a directory of its own: what is removed before it reaches the disk disturbs nobody.
        let [plain, engine] = in_turn([
            ("plain writes", &mut || {
                let directory = directory();
                let (mut file, mut left) = (PlainFile::growing(&directory.path().join("plain")), bytes);
                let chunk = vec![b'x'; size];
                let start = Instant::now();
                while left > 0 {
                    file.write(&chunk);
                    left -= size;
                }
                gigabytes_per_second(start)
            }),
            ("engine", &mut || {
                let (directory, engine) = (directory(), engine(1));
                let log = open(&engine, NoSync::vfs(), &directory.path().join("log"), 256 * MIB);
                let mut producer = Producer::new(log, batch.clone());
                let start = Instant::now();
                producer.fill(bytes);
                gigabytes_per_second(start)
            }),
        ]);
        let required = if size == MIB { Required::AtLeast(1.0) } else { Required::Nothing };
        line(&format!("{what}, no sync: engine"), engine.median(), "GB/s", required, "");
        engine.compare(&plain, &format!("{what}, no sync"), "GB/s", Required::Nothing);
    }
}
