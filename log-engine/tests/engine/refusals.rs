//! Logs that must not be opened, and nothing of which may change.

use quorate_faulty_vfs::{Fault, Filter, OperationKind};
use quorate_log_engine::{OpenError, RealVfs};

use crate::support::{Disk, Fixture, PowerCut, Visited, segment_path as segment};

/// A closed log of a few segments.
fn closed() -> Fixture {
    let mut fixture = Fixture::new(500);
    fixture.vote(1, 1).unwrap();
    (0..6).for_each(|_| drop(fixture.append_batches(1, 1)));
    fixture.close();
    assert!(fixture.segments().len() > 2);
    fixture
}

fn refused(fixture: &mut Fixture) -> OpenError {
    let before = fixture.disk.contents();
    let error = fixture.open().unwrap_err();
    assert_eq!(fixture.disk.contents(), before, "a refused log is left as it is");
    error
}

#[test]
fn a_log_that_was_created_and_is_gone_is_lost() {
    let mut fixture = Fixture::closed(500);
    fixture.options.must_exist = true;
    assert!(matches!(refused(&mut fixture), OpenError::Lost { .. }));
    let mut fixture = closed();
    fixture.options.must_exist = true;
    fixture.disk.paths().iter().for_each(|path| fixture.disk.lose(path));
    assert!(matches!(refused(&mut fixture), OpenError::Lost { .. }));
}

#[test]
fn a_created_log_is_there_after_a_power_cut() {
    let mut fixture = Fixture::new(500);
    fixture.options.must_exist = true;
    fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
}

#[test]
fn a_log_of_another_replica_is_refused() {
    let mut fixture = closed();
    fixture.options.replica = 8;
    assert!(matches!(refused(&mut fixture), OpenError::SegmentHeader { .. }));
}

#[test]
fn a_log_shorter_than_known_to_be_durable_is_refused() {
    let mut fixture = closed();
    fixture.options.settled_through = Some(5);
    fixture.open().unwrap();
    fixture.options.settled_through = Some(6);
    assert!(matches!(refused(&mut fixture), OpenError::TooShort { expected: 6, found: Some(5), .. }));
    let mut fixture = Fixture::closed(500);
    fixture.options.settled_through = Some(0);
    assert!(matches!(refused(&mut fixture), OpenError::TooShort { expected: 0, found: None, .. }));
}

#[test]
fn a_torn_tail_is_not_cut_when_the_log_is_then_too_short() {
    let mut fixture = closed();
    let newest = fixture.newest_segment();
    fixture.disk.damage(&newest, |bytes| {
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes.truncate(end);
    });
    fixture.options.settled_through = Some(5);
    assert!(matches!(refused(&mut fixture), OpenError::TooShort { expected: 5, found: Some(4), .. }));
}

#[test]
fn another_disk_format_is_refused() {
    let mut fixture = closed();
    for format in [0, 2] {
        fixture.disk.damage(&segment(1), |bytes| bytes[4] = format);
        let error = refused(&mut fixture);
        assert!(matches!(error, OpenError::Format { found, supported: 1, .. } if found == format), "{error}");
    }
    // That of format 0 was shorter.
    let mut fixture = Fixture::closed(500);
    fixture.disk = Disk::of(&[(segment(0), [b"QSEG\0".as_slice(), &[7; 75]].concat())]);
    assert!(matches!(refused(&mut fixture), OpenError::Format { found: 0, supported: 1, .. }));
}

#[test]
fn a_missing_segment_is_noticed() {
    for missing in [0, 1] {
        let mut fixture = closed();
        fixture.disk.lose(&segment(missing));
        let error = refused(&mut fixture);
        assert!(matches!(error, OpenError::SegmentMissing { missing: found, .. } if found == missing), "{error}");
    }
    // All but one whose creation was cut short.
    let mut fixture = closed();
    let unfinished = vec![(segment(fixture.segments().len() as u64), Vec::new())];
    fixture.disk = Disk::of(&unfinished);
    assert!(matches!(refused(&mut fixture), OpenError::SegmentMissing { missing: 0, .. }));
}

#[test]
fn leftover_segments_stay_when_the_log_is_refused() {
    let mut fixture = Fixture::new(500);
    (0..6).for_each(|_| drop(fixture.append_batches(1, 1)));
    // The process dies before it has removed them.
    fixture.disk.inject(Filter::on(OperationKind::Remove).suffix(".log"), Fault::Broken);
    fixture.log().truncate_after(Some(1)).unwrap();
    fixture.append_batches(2, 1);
    fixture.close();
    fixture.disk.heal_all();
    let before = fixture.disk.paths().len();
    fixture.options.settled_through = Some(3);
    assert!(matches!(refused(&mut fixture), OpenError::TooShort { .. }));
    fixture.options.settled_through = Some(2);
    fixture.open().unwrap();
    assert!(fixture.disk.paths().len() < before, "what was truncated away is removed");
}

#[test]
fn the_real_file_system_keeps_a_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b");
    let fixture = Fixture::closed(100_000);
    let open = |must_exist| {
        let options = quorate_log_engine::LogOptions { must_exist, ..fixture.options.clone() };
        let vfs = std::sync::Arc::new(RealVfs);
        quorate_log_engine::Log::open(&fixture.engine, vfs, &path, &options, &mut Visited::default())
    };
    assert!(matches!(open(true), Err(OpenError::Lost { .. })));
    let (mut fixture, open) = (Fixture::closed(100_000), open);
    fixture.opened = Some(open(false).unwrap());
    let mut frames = fixture.append_batches(1, 900);
    fixture.log().truncate_after(Some(600)).unwrap();
    frames.truncate(601);
    frames.extend(fixture.append_batches(2, 3));
    fixture.close();
    fixture.opened = Some(open(true).unwrap());
    let frames: Vec<_> = frames.iter().map(crate::support::image).collect();
    assert_eq!(fixture.read_all().unwrap(), frames);
}
