//! Where a segment, or the log, is not as most are.

use quorate_faulty_vfs::{Fault, Filter, OperationKind};
use quorate_log_engine::{FrameKind, ReadStart, RepairError, RepairReport};

use super::{Twin, check_all_reads, frames, peer, wipe, with_votes_between};
use crate::support::{Disk, Fixture, PowerCut, batch, command, image, segment_path, shared_engine};

#[test]
fn what_lies_before_the_start_of_the_log_stays_lost_and_is_not_asked_for() {
    let twin = Twin::new();
    let segment = twin.finished()[2];
    let end = twin.finished()[3].base_index;
    let start = segment.base_index + 2;
    assert!(start < end);
    // All of the file; from before the start to behind it; a place before it and one behind it; one before it.
    let places = twin.frames(2);
    let place =
        |index: u64| places.iter().find(|frame| frame.header.index == index && frame.header.kind.is_entry()).unwrap();
    let (first, second, third) = (place(start - 2), place(start - 1), place(start));
    let damages: [&dyn Fn(&Disk); 5] = [
        &|disk| disk.lose(&segment_path(2)),
        &|disk| wipe(disk, 2, second.position + 9..third.position + 40),
        &|disk| {
            wipe(disk, 2, first.position + 9..first.position + 10);
            wipe(disk, 2, third.position + 9..third.position + 10);
        },
        &|disk| {
            wipe(disk, 2, second.position + second.bytes - 12..second.position + second.bytes - 8);
            wipe(disk, 2, third.position + third.bytes - 12..third.position + third.bytes - 8);
        },
        &|disk| wipe(disk, 2, first.position..second.position + 1),
    ];
    for (case, damage) in damages.iter().enumerate() {
        let mut fixture = twin.damaged(damage);
        fixture.trim(start, twin.model.offset_before(start as usize)).unwrap();
        fixture.barrier();
        let damages = u64::from(case < 4);
        // A read that meets damage reports all of its segment.
        assert_eq!(fixture.read_all().is_err(), case < 4);
        assert_eq!(fixture.log().holes().len() as u64, damages, "{case}: {:?}", fixture.log().holes());
        assert_eq!(fixture.log().scrub().damages, damages, "{case}: what lies before the start is nobody's damage");
        assert_eq!(fixture.log().holes().len() as u64, damages);
        let mut peer = twin.peer();
        let mut repair = |fixture: &Fixture| {
            fixture.log().repair(2, &mut |indexes| {
                assert!(indexes.start >= start, "{case}: {indexes:?} was trimmed away");
                peer(indexes)
            })
        };
        let report = repair(&fixture).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(report.entries, [end - start, 1, 1, 1, 0][case], "{case}");
        let expected = &twin.model.frames()[start as usize..];
        let check = |fixture: &Fixture| {
            assert_eq!(fixture.read_all().unwrap(), expected, "{case}");
            for frame in expected.iter().filter(|frame| frame.stamp.is_some()) {
                let starts = [ReadStart::Offset(frame.next_offset - 1), ReadStart::Time(frame.leader_time_ms)];
                for start in starts {
                    assert_eq!(image(&fixture.read(start, u64::MAX, 1).unwrap().0[0]), *frame, "{case} {start:?}");
                }
            }
            assert_eq!(fixture.log().scrub().damages, 0, "{case}");
            assert!(fixture.log().holes().is_empty());
        };
        check(&fixture);
        assert_eq!(repair(&fixture).unwrap(), RepairReport::default(), "{case}");
        // With its index, and with one made anew.
        for lose_index in [false, true] {
            fixture.barrier();
            let index = segment_path(2).with_extension("index");
            if lose_index {
                fixture.disk.lose(&index);
            }
            fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
            check(&fixture);
            fixture.barrier();
            assert!(case == 4 || fixture.disk.paths().contains(&index), "{case}: the index is there again");
        }
    }
}

#[test]
fn damage_in_the_active_segment_is_repaired_after_a_seal() {
    let mut fixture = Fixture::closed(1 << 20);
    fixture.engine = shared_engine(0);
    fixture.open().unwrap();
    let entries = fixture.append_batches(1, 5);
    fixture.vote(2, 1).unwrap();
    fixture.barrier();
    let at = frames(&fixture.disk, 0)[2].position + 100;
    wipe(&fixture.disk, 0, at..at + 100);
    assert!(fixture.read_all().is_err());
    let damaged = fixture.log().damaged_segments();
    assert!(!damaged[0].finished && damaged[0].holes.len() == 1 && damaged[0].holes[0] == (2..3), "{damaged:?}");
    let refused = fixture.log().repair(0, &mut peer(&entries));
    assert!(matches!(refused, Err(RepairError::NotFinished { segment: 0 })), "{refused:?}");
    fixture.disk.close_syncs();
    assert_eq!(fixture.log().seal(), Some(5));
    let refused = fixture.log().repair(0, &mut peer(&entries));
    assert!(matches!(refused, Err(RepairError::NotFinished { segment: 0 })), "the seal is not durable: {refused:?}");
    fixture.disk.open_gates();
    fixture.barrier();
    assert!(fixture.log().damaged_segments()[0].finished);
    assert!(fixture.log().repair(0, &mut peer(&entries)).unwrap().entries > 0);
    assert_eq!(fixture.read_all().unwrap(), entries.iter().map(image).collect::<Vec<_>>());
    assert!(fixture.log().damaged_segments().is_empty());
    fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
    assert_eq!(fixture.read_all().unwrap(), entries.iter().map(image).collect::<Vec<_>>());
    assert_eq!(fixture.log().vote().unwrap().term, 2);
}

#[test]
fn a_rebuilt_local_frame_is_no_vote() {
    // Without a vote in any header, whatever votes a finished segment holds would count.
    let mut fixture = Fixture::closed(1 << 20);
    fixture.engine = shared_engine(0);
    fixture.open().unwrap();
    let entries = fixture.append_batches(1, 3);
    fixture.trim(2, 4).unwrap();
    fixture.log().seal().unwrap();
    fixture.barrier();
    let start = frames(&fixture.disk, 0).into_iter().find(|frame| frame.header.kind == FrameKind::Start).unwrap();
    wipe(&fixture.disk, 0, start.position..start.position + start.bytes);
    assert_eq!(fixture.log().scrub().damages, 1);
    let report = fixture.log().repair(0, &mut |_| panic!("no entry is lost")).unwrap();
    assert_eq!(report, RepairReport { entries: 0, bytes: 112 });
    fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
    assert_eq!((fixture.log().vote(), fixture.log().start().index), (None, 2));
    assert_eq!(fixture.read_all().unwrap(), [image(&entries[2])]);
}

#[test]
fn a_segment_whose_predecessor_was_trimmed_away_is_rebuilt_as_the_first() {
    let twin = Twin::new();
    let segment = twin.finished()[3];
    let mut fixture = twin.damaged(|_| {});
    fixture.trim(segment.base_index, segment.base_offset).unwrap();
    fixture.barrier();
    assert_eq!(fixture.log().segments()[0].number, 3);
    for damage in 0..2 {
        match damage {
            0 => fixture.disk.lose(&segment_path(3)),
            _ => wipe(&fixture.disk, 3, 0..300),
        }
        assert_eq!(fixture.log().scrub().damages, 1);
        twin.repair(&fixture, 3).unwrap();
        fixture.barrier();
        // Also for a recovery that begins with it.
        let mut again = Fixture::closed(1_400);
        (again.engine, again.disk) = (shared_engine(0), fixture.disk.fork());
        let newer = |path: &&std::path::PathBuf| {
            path.extension().is_some_and(|name| name == "checkpoint") && **path > segment_path(4)
        };
        again.disk.paths().iter().filter(newer).for_each(|path| again.disk.lose(path));
        again.disk.lose(&segment_path(4).with_extension("checkpoint"));
        again.open().unwrap();
        assert_eq!(again.read_all().unwrap(), twin.model.frames()[segment.base_index as usize..]);
        assert_eq!(again.visited.restored.as_ref().unwrap().0, segment.base_index);
    }
    fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
    assert_eq!(fixture.read_all().unwrap(), twin.model.frames()[segment.base_index as usize..]);
}

#[test]
fn a_segment_that_was_truncated_into_is_rebuilt_up_to_its_end() {
    let mut fixture = Fixture::closed(1 << 20);
    fixture.engine = shared_engine(0);
    fixture.open().unwrap();
    let entries = fixture.append_batches(1, 6);
    fixture.truncate(3).unwrap();
    let more = fixture.append_batches(2, 2);
    fixture.barrier();
    let end = fixture.log().segments()[0].bytes;
    assert!(fixture.disk.bytes(&segment_path(0)).len() as u64 > end, "stale frames are left behind it");
    for lose in [false, true] {
        match lose {
            true => fixture.disk.lose(&segment_path(0)),
            false => wipe(&fixture.disk, 0, end - 150..end - 20),
        }
        assert_eq!(fixture.log().scrub().damages, 1);
        fixture.log().repair(0, &mut peer(&entries)).unwrap();
        assert_eq!(fixture.disk.bytes(&segment_path(0)).len() as u64, end);
        let expected: Vec<_> = entries[..3].iter().chain(&more).map(image).collect();
        assert_eq!(fixture.read_all().unwrap(), expected);
        fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
        assert_eq!(fixture.read_all().unwrap(), expected);
    }
}

#[test]
fn a_segment_larger_than_what_is_read_at_once_is_rebuilt() {
    let mut fixture = Fixture::closed(6 << 20);
    fixture.engine = shared_engine(0);
    fixture.open().unwrap();
    let mut entries = Vec::new();
    while fixture.log().segments().len() < 2 {
        let index = fixture.log().next_index();
        let frame = match index % 3 {
            0 => batch(1, index, fixture.log().end_offset(), 900 + index, true),
            _ => command(1, index, fixture.log().end_offset(), &"x".repeat(50_001 + index as usize)),
        };
        entries.push(frame.clone());
        fixture.append(vec![frame]).unwrap();
        fixture.vote(index, 1).unwrap();
    }
    fixture.barrier();
    let end = fixture.log().segments()[0].bytes;
    for damage in 0..3 {
        match damage {
            0 => fixture.disk.lose(&segment_path(0)),
            1 => wipe(&fixture.disk, 0, 1_000_000..4_000_000),
            _ => wipe(&fixture.disk, 0, end / 2..end),
        }
        assert_eq!(fixture.log().scrub().damages, 1);
        assert!(fixture.log().repair(0, &mut peer(&entries)).unwrap().bytes >= end / 3);
        assert_eq!(fixture.read_all().unwrap(), entries.iter().map(image).collect::<Vec<_>>());
        assert_eq!(fixture.log().scrub().damages, 0);
    }
    fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
    assert_eq!(fixture.read_all().unwrap(), entries.iter().map(image).collect::<Vec<_>>());
}

#[test]
fn what_is_found_sound_is_left_as_it_is_and_its_holes_are_forgotten() {
    let twin = Twin::new();
    let fixture = twin.damaged(|_| {});
    // A file that could not be found for a moment.
    let fault = fixture.disk.inject(Filter::on(OperationKind::Read).suffix("2.log").nth(1), Fault::FlipInRead);
    while fixture.log().holes().is_empty() {
        let _ = fixture.log().scrub();
        assert_eq!(fixture.disk.struck(fault), 1);
    }
    let before = fixture.disk.contents();
    assert_eq!(twin.repair(&fixture, 2).unwrap(), RepairReport::default());
    assert!(fixture.disk.contents() == before);
    twin.check(fixture, "sound");
}

#[test]
fn only_finished_segments_of_a_sound_log_are_repaired() {
    let twin = Twin::new();
    let fixture = twin.damaged(|_| {});
    let active = fixture.log().segments().last().unwrap().number;
    for segment in [active, active + 1, 900] {
        assert!(matches!(twin.repair(&fixture, segment), Err(RepairError::NotFinished { .. })), "{segment}");
    }
    fixture.fail_syncs();
    fixture.append(vec![command(9, 30, twin.model.end_offset(), "fails")]).unwrap_err();
    assert!(matches!(twin.repair(&fixture, 2), Err(RepairError::Failed(_))));
}

#[test]
fn no_index_of_the_damaged_file_outlives_it() {
    let (mut fixture, entries) = with_votes_between();
    let check = |fixture: &Fixture| check_all_reads(fixture, &entries);
    check(&fixture);
    fixture.disk.lose(&segment_path(0));
    assert_eq!(fixture.log().scrub().damages, 1);
    // The votes come back behind the entries, not between them: no place in the old index is right any more.
    let fault = fixture.disk.inject(Filter::on(OperationKind::Create).suffix(".index.new"), Fault::Full);
    fixture.log().repair(0, &mut peer(&entries)).unwrap();
    assert_eq!(fixture.disk.struck(fault), 1);
    assert!(!fixture.disk.paths().contains(&segment_path(0).with_extension("index")));
    check(&fixture);
    fixture.disk.heal_all();
    fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
    check(&fixture);
    fixture.barrier();
    assert!(fixture.disk.paths().contains(&segment_path(0).with_extension("index")), "made anew when it was missed");
}
