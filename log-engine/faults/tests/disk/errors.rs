//! Operations that fail, and what is left of them.

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use quorate_faulty_vfs::{Fault, Filter, OperationKind, PowerCut};

use crate::support::{DIRECTORY, at, disk, durable, names, read, write};

#[test]
fn every_kind_of_operation_can_fail_without_effect_and_works_again() {
    for kind in OperationKind::ALL {
        let (disk, vfs) = disk();
        let file = durable(&vfs, "a", b"old");
        let operation = || match kind {
            OperationKind::Create => vfs.create(&at("b")).map(drop),
            OperationKind::Open => vfs.open_read_only(&at("a")).map(drop),
            OperationKind::Read => read(&file, 0, 3).map(drop),
            OperationKind::Write => write(&file, b"new", 0),
            OperationKind::Truncate => file.truncate(1),
            OperationKind::SyncFile => file.sync_data(),
            OperationKind::Rename => vfs.rename(&at("a"), &at("b")),
            OperationKind::Remove => vfs.remove_file(&at("a")),
            OperationKind::List => vfs.list(Path::new(DIRECTORY)).map(drop),
            OperationKind::CreateDirectory => vfs.create_directory(&at("e")),
            OperationKind::SyncDirectory => vfs.sync_directory(Path::new(DIRECTORY)),
        };
        let before = disk.contents();
        let fault = disk.inject(Filter::on(kind).nth(0), Fault::Broken);
        let others = disk.inject(Filter::on(kind).nth(1), Fault::Full);
        assert_eq!(operation().unwrap_err().to_string(), "the disk is broken", "{kind:?}");
        assert_eq!(operation().unwrap_err().kind(), io::ErrorKind::StorageFull, "{kind:?}");
        assert_eq!(disk.contents(), before, "{kind:?}");
        assert!(!vfs.directory_exists(&at("e")));
        assert_eq!((disk.struck(fault), disk.struck(others)), (1, 1), "{kind:?}");
        operation().unwrap();
    }
}

#[test]
fn after_a_failed_sync_a_later_success_says_nothing_of_the_pages_before() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", b"durable");
    write(&file, b" lost", 7).unwrap();
    disk.fail_next_sync();
    assert!(file.sync_data().is_err());
    assert_eq!(disk.bytes(&at("a")), b"durable lost", "the pages are still seen");
    write(&file, b" written", 12).unwrap();
    file.sync_data().unwrap();
    let file = disk.vfs().open(&at("a")).unwrap();
    assert_eq!(read(&file, 0, 99).unwrap(), b"durable lost written", "by the next process too");
    let fork = disk.fork();
    fork.power_cut(PowerCut::KeepAll);
    assert_eq!(fork.bytes(&at("a")), b"durable\0\0\0\0\0 written");
    // Written once more they are dirty again.
    write(&file, b" lost", 7).unwrap();
    file.sync_data().unwrap();
    disk.power_cut(PowerCut::LoseAll);
    assert_eq!(disk.bytes(&at("a")), b"durable lost written");
}

#[test]
fn a_failed_directory_sync_makes_nothing_durable_and_a_later_one_does() {
    let (disk, vfs) = disk();
    vfs.create(&at("a")).unwrap();
    disk.fail_next_sync();
    assert!(vfs.sync_directory(Path::new(DIRECTORY)).is_err());
    let fork = disk.fork();
    fork.power_cut(PowerCut::LoseAll);
    assert_eq!(names(&fork), [""; 0]);
    vfs.sync_directory(Path::new(DIRECTORY)).unwrap();
    disk.power_cut(PowerCut::LoseAll);
    assert_eq!(names(&disk), ["a"]);
}

#[test]
fn a_write_may_fail_half_way() {
    let mut sizes = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let (disk, vfs) = disk();
        let file = durable(&vfs, "a", b"");
        disk.inject(Filter::on(OperationKind::Write).seed(seed), Fault::PartialWrite);
        assert!(write(&file, b"12345", 0).is_err());
        let bytes = disk.bytes(&at("a"));
        assert!(b"12345".starts_with(&bytes));
        sizes.insert(bytes.len());
    }
    assert_eq!(sizes, [0, 1, 2, 3, 4].into());
}

#[test]
fn a_filter_matches_by_occurrence_by_suffix_and_by_chance() {
    let (disk, vfs) = disk();
    let files = ["a.x", "b.y"].map(|name| durable(&vfs, name, b""));
    let pattern = || -> String {
        let outcomes = (0..8).map(|at| write(&files[at % 2], b"x", 0).is_ok());
        outcomes.map(|written| if written { '.' } else { 'x' }).collect()
    };
    let writes = || Filter::on(OperationKind::Write);
    for (filter, expected) in [
        (writes(), "xxxxxxxx"),
        (Filter::any(), "xxxxxxxx"),
        (Filter::syncs(), "........"),
        (writes().nth(2), "..x....."),
        (writes().occurrences(3..5), "...xx..."),
        (writes().suffix(".y"), ".x.x.x.x"),
        (writes().suffix(".x").nth(1), "..x....."),
    ] {
        disk.inject(filter.clone(), Fault::Broken);
        assert_eq!(pattern(), expected, "{filter:?}");
        disk.heal_all();
        assert_eq!(pattern(), "........");
    }
    let by_chance = |seed| {
        let fault = disk.inject(writes().one_in(4).seed(seed), Fault::Broken);
        let found: Vec<_> = (0..50).map(|_| pattern()).collect();
        disk.heal(fault);
        (found, disk.struck(fault))
    };
    assert_eq!(by_chance(1), by_chance(1), "a seed repeats itself");
    assert_ne!(by_chance(1).0, by_chance(2).0);
    assert!((60..140).contains(&by_chance(3).1), "one in four of 400");
}

#[test]
fn the_first_scheduled_of_several_faults_strikes() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", b"");
    let full = disk.inject(Filter::on(OperationKind::Write), Fault::Full);
    let broken = disk.inject(Filter::any(), Fault::Broken);
    assert_eq!(write(&file, b"x", 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!((disk.struck(full), disk.struck(broken)), (1, 0));
}

#[test]
fn a_slow_disk_takes_its_time_and_succeeds() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", b"");
    let delay = Duration::from_millis(30);
    let slow = disk.inject(Filter::on(OperationKind::Write), Fault::Slow { min: delay, max: delay });
    let begun = Instant::now();
    file.sync_data().unwrap();
    write(&file, b"slow", 0).unwrap();
    assert!(begun.elapsed() >= delay && disk.struck(slow) == 1);
    assert_eq!(disk.bytes(&at("a")), b"slow");
    // A slow write does not hold up others.
    let begun = Instant::now();
    let seconds = Duration::from_secs(5);
    disk.inject(Filter::on(OperationKind::Write), Fault::Slow { min: seconds, max: seconds });
    let (other, vfs) = (file.clone(), vfs.clone());
    std::thread::spawn(move || write(&other, b"very slow", 0));
    vfs.create(&at("b")).unwrap();
    assert!(read(&file, 0, 9).unwrap() == b"slow" && begun.elapsed() < seconds);
}

#[test]
fn a_delay_is_between_its_bounds() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", b"");
    let [min, max] = [2, 8].map(Duration::from_millis);
    disk.inject(Filter::on(OperationKind::Write).seed(4), Fault::Slow { min, max });
    let delays: Vec<_> = (0..10)
        .map(|_| {
            let begun = Instant::now();
            write(&file, b"x", 0).unwrap();
            begun.elapsed()
        })
        .collect();
    assert!(delays.iter().all(|delay| *delay >= min), "{delays:?}");
    let (shortest, longest) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
    assert!(*longest - *shortest > Duration::from_millis(1), "{delays:?}");
}
