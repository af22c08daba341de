//! Writes of which some sectors survive.

use std::collections::BTreeSet;

use quorate_faulty_vfs::{Disk, PowerCut, SECTOR_BYTES};

use crate::support::{at, disk, durable, write};

const SEEDS: std::ops::Range<u64> = 0..300;

fn lengths(disk: &Disk, cut: fn(u64) -> PowerCut) -> BTreeSet<usize> {
    let length = |seed| {
        let fork = disk.fork();
        fork.power_cut(cut(seed));
        fork.bytes(&at("a")).len()
    };
    SEEDS.map(length).collect()
}

#[test]
fn tear_last_loses_the_last_sector_of_the_last_write_of_each_file() {
    for (size, kept) in [(1, 100), (412, 100), (413, 512), (1_000, 1_024), (924, 512), (925, 1_024)] {
        let (disk, vfs) = disk();
        let files = ["a", "b"].map(|name| durable(&vfs, name, b""));
        for file in &files {
            write(file, &[1; 100], 0).unwrap();
            write(file, &vec![2; size], 100).unwrap();
        }
        disk.power_cut(PowerCut::TearLast);
        for name in ["a", "b"] {
            assert_eq!(disk.bytes(&at(name)).len(), kept, "a write of {size} bytes at 100");
        }
    }
}

#[test]
fn keep_prefix_tears_the_first_lost_write_at_any_sector_boundary() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", &[9; 10]);
    write(&file, &[1; 90], 10).unwrap();
    write(&file, &[2; 1_500], 100).unwrap();
    assert_eq!(lengths(&disk, PowerCut::KeepPrefix), [10, 100, 512, 1_024, 1_536, 1_600].into());
    for seed in SEEDS {
        let fork = disk.fork();
        fork.power_cut(PowerCut::KeepPrefix(seed));
        let bytes = fork.bytes(&at("a"));
        assert!(disk.bytes(&at("a")).starts_with(&bytes), "what survives is a prefix: seed {seed}");
    }
}

#[test]
fn keep_prefix_counts_truncations_as_changes() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", &[9; 100]);
    file.truncate(50).unwrap();
    file.truncate(70).unwrap();
    write(&file, &[1; 10], 70).unwrap();
    assert_eq!(lengths(&disk, PowerCut::KeepPrefix), [50, 70, 80, 100].into());
}

#[test]
fn keep_some_keeps_any_sectors_and_zeros_for_the_others() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", b"");
    // Not at sector boundaries: parts of three sectors.
    write(&file, &[1; 1_024], 100).unwrap();
    let mut found = BTreeSet::new();
    for seed in SEEDS {
        let fork = disk.fork();
        fork.power_cut(PowerCut::KeepSome(seed));
        let mut bytes = fork.bytes(&at("a"));
        let length = bytes.len();
        bytes.resize(1_124, 0);
        let parts = [100..512, 512..1_024, 1_024..1_124].map(|part| {
            let ones = bytes[part.clone()].iter().filter(|byte| **byte == 1).count();
            assert!(ones == 0 || ones == part.len(), "a sector is torn: seed {seed}");
            ones > 0
        });
        found.insert((parts, length));
    }
    let kept: BTreeSet<_> = found.iter().map(|(parts, _)| *parts).collect();
    assert_eq!(kept.len(), 8, "{kept:?}");
    assert!(found.contains(&([false; 3], 0)), "nothing survived");
    assert!(found.contains(&([false; 3], 1_124)), "the length survived and the bytes did not");
    assert!(found.contains(&([true, false, true], 1_124)), "a hole");
}

#[test]
fn keep_some_keeps_a_later_write_without_an_earlier_one() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", &[0; 1_024]);
    write(&file, &[1; 512], 0).unwrap();
    write(&file, &[2; 512], 512).unwrap();
    file.truncate(1_000).unwrap();
    let outcome = |seed| {
        let fork = disk.fork();
        fork.power_cut(PowerCut::KeepSome(seed));
        let bytes = fork.bytes(&at("a"));
        (bytes[0], bytes[512], bytes.len())
    };
    let found: BTreeSet<_> = SEEDS.map(outcome).collect();
    assert!(found.contains(&(0, 2, 1_024)) && found.contains(&(0, 0, 1_000)) && found.len() == 8, "{found:?}");
    assert_eq!(SECTOR_BYTES, 512);
}
