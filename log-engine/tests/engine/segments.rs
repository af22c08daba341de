//! What a log tells of its segments, and what is no longer said of those that are gone.

use quorate_faulty_vfs::OperationKind;
use quorate_log_engine::{LogStart, ReadPlan, ReadStart, SegmentInfo};

use crate::support::{Fixture, PowerCut, command, engine, segment_path, wait};

/// A log that keeps nothing in memory but the last entry, of ten entries in several segments.
fn ten() -> Fixture {
    let mut fixture = Fixture::closed(700);
    fixture.engine = engine(0);
    fixture.open().unwrap();
    for _ in 0..10 {
        fixture.append_batches(1, 1);
        fixture.barrier();
    }
    fixture
}

fn numbers(fixture: &Fixture) -> Vec<u64> {
    fixture.log().segments().iter().map(|segment| segment.number).collect()
}

#[test]
fn the_segments_tell_where_they_begin_and_what_of_them_is_on_stable_storage() {
    let mut fixture = ten();
    let check = |segments: &[SegmentInfo]| {
        assert!(segments.len() >= 3 && segments.iter().enumerate().all(|(at, info)| info.number == at as u64));
        assert_eq!(segments[0].base_index, 0);
        for segment in segments {
            // Two records an entry, the entry of log index n at 1000 + n milliseconds.
            let SegmentInfo { base_index, base_offset, base_time_ms, durable, .. } = *segment;
            assert_eq!((base_offset, durable), (2 * base_index, true));
            assert_eq!(base_time_ms, if base_index == 0 { 0 } else { 999 + base_index as i64 });
            assert_eq!(segment.checkpointed, segment.number > 0);
        }
    };
    let segments = fixture.log().segments();
    check(&segments);
    for (segment, next) in segments.iter().zip(&segments[1..]) {
        let header = &fixture.disk.bytes(&segment_path(next.number))[..];
        assert_eq!(segment.bytes.to_le_bytes(), header[56..64], "the end that the next header names");
    }
    fixture.options.settled_through = Some(9);
    fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
    check(&fixture.log().segments());
    assert_eq!(fixture.log().segments(), segments);
    // Neither a roll nor a restart is durable before it is synced.
    fixture.disk.close_syncs();
    assert_eq!(fixture.log().seal(), Some(10));
    fixture.checkpoint(10);
    let sealed = fixture.log().segments();
    assert_eq!(sealed[..segments.len()], segments);
    assert!(!sealed[segments.len()].durable);
    fixture.disk.open_gates();
    fixture.barrier();
    assert!(fixture.log().segments().iter().all(|segment| segment.durable));
    fixture.disk.close_syncs();
    let start = LogStart { index: 50, term: 2, offset: 70 };
    let (done, restarted) = std::sync::mpsc::channel();
    fixture.log().restart_at(start, "state".into(), Box::new(move |result| drop(done.send(result))));
    let restarting = fixture.log().segments();
    assert_eq!((restarting.len(), restarting[0].base_index, restarting[0].base_offset), (1, 50, 70));
    assert!(!restarting[0].durable && !restarting[0].checkpointed);
    assert_eq!(fixture.log().durable_through(), None, "a crash now brings the old log back");
    fixture.disk.open_gates();
    wait(&restarted).unwrap();
    assert!(fixture.log().segments()[0].durable && fixture.log().segments()[0].checkpointed);
    assert_eq!(fixture.log().durable_through(), Some(49));
}

#[test]
fn a_seal_begins_a_segment_if_there_is_anything_to_seal() {
    let mut fixture = Fixture::new(1 << 20);
    assert_eq!(fixture.log().seal(), None, "an empty segment is not sealed");
    let frames = fixture.append_batches(1, 3);
    assert_eq!((fixture.log().seal(), fixture.log().seal()), (Some(3), None));
    fixture.vote(4, 1).unwrap();
    assert_eq!(fixture.log().seal(), Some(3), "a vote is something");
    let more = fixture.append_batches(4, 1);
    assert_eq!(numbers(&fixture), [0, 1, 2]);
    fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
    let expected: Vec<_> = frames.iter().chain(&more).map(crate::support::image).collect();
    assert_eq!(fixture.read_all().unwrap(), expected);
    assert_eq!((numbers(&fixture), fixture.log().vote().unwrap().term), (vec![0, 1, 2], 4));
    fixture.fail_syncs();
    fixture.append(vec![command(4, 4, 8, "fails")]).unwrap_err();
    assert_eq!(fixture.log().seal(), None, "a poisoned log is left as it is");
}

#[test]
fn a_read_of_what_is_gone_since_it_was_planned_is_outdated_and_no_hole() {
    let away: [fn(&Fixture); 3] = [
        |fixture| fixture.trim(9, 18).unwrap(),
        |fixture| fixture.truncate(0).unwrap(),
        |fixture| fixture.restart(LogStart { index: 4, term: 1, offset: 8 }).unwrap(),
    ];
    for (case, away) in away.iter().enumerate() {
        for read_before in [false, true] {
            let fixture = ten();
            let index = if case == 1 { 4 } else { 0 };
            let plan = || match fixture.log().plan_read(ReadStart::Index(index), 10, 1) {
                ReadPlan::Cold(read) => read,
                ReadPlan::Ready(_) => panic!("nothing is in memory"),
            };
            let read = plan();
            if read_before {
                plan().run().unwrap();
            }
            away(&fixture);
            fixture.barrier();
            let error = read.run().unwrap_err();
            assert!(error.is_outdated(), "case {case}: {error}");
            assert!(fixture.log().holes().is_empty());
        }
    }
    // Of a segment that is still there, it is a hole.
    let fixture = ten();
    let ReadPlan::Cold(read) = fixture.log().plan_read(ReadStart::Index(0), 10, 1) else { panic!() };
    fixture.disk.lose(&segment_path(0));
    assert!(!read.run().unwrap_err().is_outdated());
    assert_eq!(fixture.log().holes().len(), 1);
}

#[test]
fn holes_go_with_the_entries_that_are_not_kept() {
    let damaged = |numbers: &[u64]| {
        let fixture = ten();
        numbers.iter().for_each(|number| fixture.disk.lose(&segment_path(*number)));
        assert_eq!(fixture.log().scrub().damages, numbers.len() as u64);
        fixture
    };
    let holes = |fixture: &Fixture| {
        fixture.log().holes().into_iter().map(|hole| (hole.indexes.start, hole.indexes.end)).collect::<Vec<_>>()
    };
    let fixture = damaged(&[0, 1, 2]);
    let bases: Vec<u64> = fixture.log().segments().iter().map(|segment| segment.base_index).collect();
    let all: Vec<_> = bases.windows(2).take(3).map(|pair| (pair[0], pair[1])).collect();
    assert_eq!(holes(&fixture), all);
    // Into the second segment: what is damaged before goes, at once and also from what later scrubs find.
    fixture.disk.close_gate(OperationKind::Remove);
    fixture.trim(bases[1] + 1, 2 * (bases[1] + 1)).unwrap();
    assert_eq!(holes(&fixture), all[1..]);
    assert!(fixture.log().scrub().damages <= 2);
    assert_eq!(holes(&fixture), all[1..]);
    fixture.disk.open_gates();

    let fixture = damaged(&[0, 2]);
    fixture.truncate(bases[2] - 1).unwrap();
    assert_eq!(holes(&fixture), all[..1], "truncated away");

    let fixture = damaged(&[0, 1, 2]);
    fixture.restart(LogStart { index: 4, term: 1, offset: 8 }).unwrap();
    assert_eq!(holes(&fixture), []);
    assert_eq!(fixture.log().scrub().damages, 0);
}
