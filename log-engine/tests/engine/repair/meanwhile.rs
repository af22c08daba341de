//! What happens to a log, and who reads it, while it is repaired.

use std::time::{Duration, Instant};

use quorate_faulty_vfs::{Fault, Filter, OperationKind};
use quorate_log_engine::{Frame, LogStart, ReadPlan, ReadStart, RepairError, RepairReport};

use super::{Twin, wipe};
use crate::support::{Fixture, PowerCut, engine, image, segment_path};

/// Long enough for everything else.
const SLOW: Fault = Fault::Slow { min: Duration::from_secs(2), max: Duration::from_secs(2) };

fn wait_for(happens: impl Fn() -> bool) {
    let begun = Instant::now();
    while !happens() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn no_unfinished(fixture: &Fixture) {
    assert!(!fixture.disk.paths().iter().any(|path| path.to_string_lossy().ends_with(".new")));
}

type Change<'a> = Box<dyn Fn(&Fixture) + 'a>;

/// Ways in which segment 2 goes, or a part of it, and the entries that are kept.
fn changes(twin: &Twin) -> Vec<(Change<'_>, Vec<Frame>)> {
    let (segment, next) = (twin.finished()[2], twin.finished()[3]);
    let base = segment.base_index;
    let kept = |range: std::ops::Range<u64>| twin.model.frames()[range.start as usize..range.end as usize].to_vec();
    vec![
        (Box::new(move |fixture| fixture.trim(next.base_index, next.base_offset).unwrap()), kept(next.base_index..30)),
        (Box::new(move |fixture| fixture.truncate(base).unwrap()), kept(1..base)),
        (Box::new(move |fixture| fixture.truncate(base - 1).unwrap()), kept(1..base - 1)),
        (Box::new(|fixture| fixture.restart(LogStart { index: 40, term: 9, offset: 80 }).unwrap()), Vec::new()),
        // The start of the log moves within what was put back already: that does no harm.
        (
            Box::new(move |fixture| fixture.trim(base + 1, twin.model.offset_before(base as usize + 1)).unwrap()),
            kept(base + 1..30),
        ),
    ]
}

fn check_gone(mut fixture: Fixture, case: usize, result: Result<RepairReport, RepairError>, kept: &[Frame]) {
    fixture.barrier();
    no_unfinished(&fixture);
    if case == 4 {
        result.unwrap();
    } else {
        assert!(matches!(result, Err(RepairError::Outdated { segment: 2 })), "{case}: {result:?}");
        assert!(!fixture.disk.paths().contains(&segment_path(2)), "{case}");
    }
    assert!(fixture.log().holes().is_empty(), "{case}: {:?}", fixture.log().holes());
    fixture.options.settled_through = None;
    fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
    assert_eq!(fixture.read_all().unwrap(), kept, "{case}");
}

#[test]
fn a_segment_that_goes_while_its_entries_are_fetched_is_left_to_go() {
    let twin = Twin::new();
    let segment = twin.finished()[2];
    for (case, (change, kept)) in changes(&twin).iter().enumerate() {
        let fixture = twin.damaged(|disk| wipe(disk, 2, 128..segment.bytes));
        let mut peer = twin.peer();
        let mut done = false;
        let result = fixture.log().repair(2, &mut |indexes| {
            if !done && indexes.start > segment.base_index {
                change(&fixture);
                fixture.barrier();
                done = true;
            }
            peer(indexes)
        });
        assert!(done);
        check_gone(fixture, case, result, kept);
    }
}

#[test]
fn a_segment_that_goes_while_its_file_is_written_is_left_to_go() {
    let twin = Twin::new();
    let run = |case: usize| {
        let (change, kept) = changes(&twin).remove(case);
        // Nothing is fetched, so that nothing fetched is refused.
        let fixture = twin.damaged(|disk| wipe(disk, 2, 20..30));
        let fault = fixture.disk.inject(Filter::on(OperationKind::Write).suffix(".log.new"), SLOW);
        let result = std::thread::scope(|scope| {
            let repairing = scope.spawn(|| twin.repair(&fixture, 2));
            wait_for(|| fixture.disk.struck(fault) > 0);
            change(&fixture);
            fixture.log().barrier(|| ());
            repairing.join().unwrap()
        });
        check_gone(fixture, case, result, &kept);
    };
    std::thread::scope(|scope| {
        (0..5).for_each(|case| {
            drop(scope.spawn({
                let run = &run;
                move || run(case)
            }))
        })
    });
}

#[test]
fn a_truncation_right_before_the_file_gets_its_name_removes_it_after() {
    let twin = Twin::new();
    let segment = twin.finished()[2];
    let fixture = twin.damaged(|disk| wipe(disk, 2, 130..140));
    fixture.disk.close_gate(OperationKind::Rename);
    std::thread::scope(|scope| {
        let repairing = scope.spawn(|| twin.repair(&fixture, 2));
        fixture.disk.wait_at_gate(OperationKind::Rename);
        fixture.log().truncate_after(Some(segment.base_index - 2)).unwrap();
        fixture.disk.open_gates();
        repairing.join().unwrap().unwrap();
    });
    fixture.barrier();
    no_unfinished(&fixture);
    assert!(!fixture.disk.paths().contains(&segment_path(2)));
    assert_eq!(fixture.read_all().unwrap(), twin.model.frames()[1..segment.base_index as usize - 1]);
    assert!(fixture.log().holes().is_empty());
}

#[test]
fn who_has_the_damaged_file_open_is_told_to_plan_again_or_reads_the_repaired_one() {
    let twin = Twin::new();
    let segment = twin.finished()[2];
    // Behind the first frame all positions move, as the votes that are lost come back as other frames.
    for wiped in [130..segment.bytes - 1, 128..230] {
        let fixture = twin.damaged(|disk| wipe(disk, 2, wiped.clone()));
        let plan = |start| match fixture.log().plan_read(start, u64::MAX, 1) {
            ReadPlan::Cold(read) => read,
            ReadPlan::Ready(_) => panic!("nothing is in memory"),
        };
        let index = segment.base_index + 1;
        let starts = [ReadStart::Index(index), ReadStart::Offset(twin.model.offset_before(index as usize))];
        let before: Vec<_> = starts.into_iter().map(|start| (start, plan(start))).collect();
        // Now its handle is in the cache.
        assert!(plan(starts[0]).run().is_err());
        assert!(!fixture.log().holes().is_empty());
        twin.repair(&fixture, 2).unwrap();
        for (start, read) in before {
            match read.run() {
                Ok(frames) => {
                    let holds = |frame: &&Frame| match start {
                        ReadStart::Offset(offset) => frame.next_offset > offset,
                        _ => frame.index == index,
                    };
                    assert_eq!(Some(&image(&frames[0])), twin.model.frames().iter().find(holds), "{start:?}");
                }
                Err(error) => assert!(error.is_outdated(), "{start:?}: {error}"),
            }
        }
        twin.check(fixture, "read meanwhile");
    }
}

#[test]
fn of_two_repairs_at_once_the_second_finds_nothing_to_do() {
    let twin = Twin::new();
    let fixture = twin.damaged(|disk| wipe(disk, 2, 0..200));
    let reports = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| twin.repair(&fixture, 2).unwrap()));
        both.map(|one| one.join().unwrap().bytes)
    });
    assert!(reports.iter().min() == Some(&0) && reports.iter().max() > Some(&100), "{reports:?}");
    twin.check(fixture, "repaired twice");
}

#[test]
fn appends_votes_and_reads_go_on_during_a_repair() {
    let twin = Twin::new();
    let fixture = twin.damaged(|disk| disk.lose(&segment_path(2)));
    let mut peer = twin.peer();
    let mut appended = 0;
    let report = fixture.log().repair(2, &mut |indexes| {
        fixture.append_batches(9, 1);
        fixture.vote(90 + appended, 1).unwrap();
        appended += 1;
        assert!(fixture.read(ReadStart::Index(1), 2, 1).is_ok());
        peer(indexes)
    });
    assert!(report.unwrap().entries > 2 && appended > 0);
    assert_eq!(fixture.log().scrub().damages, 0);
    assert_eq!(fixture.read_all().unwrap()[..29], *twin.model.kept());
    assert_eq!(fixture.log().next_index(), 30 + appended);
}

#[test]
fn the_damaged_file_is_not_kept_open() {
    let twin = Twin::new();
    let mut fixture = twin.damaged(|disk| wipe(disk, 2, 200..220));
    fixture.engine = engine(0);
    fixture.open().unwrap();
    let index = twin.finished()[2].base_index;
    fixture.read(ReadStart::Index(index + 1), u64::MAX, 1).unwrap_err();
    assert_eq!(fixture.engine.stats().open_segments, 1);
    twin.repair(&fixture, 2).unwrap();
    assert_eq!(fixture.engine.stats().open_segments, 0);
}

#[test]
fn a_slow_reader_of_the_damaged_file_is_told_to_plan_again() {
    let twin = Twin::new();
    let segment = twin.finished()[2];
    let index = segment.base_index + 1;
    // It has opened the old file just now, or long before.
    let run = |primed: bool| {
        let fixture = twin.damaged(|disk| wipe(disk, 2, 130..segment.bytes - 1));
        let plan = || match fixture.log().plan_read(ReadStart::Index(index), u64::MAX, 1) {
            ReadPlan::Cold(read) => read,
            ReadPlan::Ready(_) => panic!("nothing is in memory"),
        };
        if primed {
            plan().run().unwrap_err();
        }
        let under_way = plan();
        let fault = fixture.disk.inject(Filter::on(OperationKind::Read).suffix("2.log").nth(0), SLOW);
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| under_way.run());
            wait_for(|| fixture.disk.struck(fault) > 0);
            twin.repair(&fixture, 2).unwrap();
            let outdated = reading.join().unwrap().unwrap_err();
            assert!(outdated.is_outdated(), "primed: {primed}: {outdated}");
        });
        // What the slow reader has opened is not what the next one gets.
        assert_eq!(plan().run().unwrap()[0].index, index, "primed: {primed}");
        twin.check(fixture, "read by a slow reader");
    };
    std::thread::scope(|scope| {
        [false, true].map(|primed| {
            drop(scope.spawn({
                let run = &run;
                move || run(primed)
            }))
        })
    });
}
