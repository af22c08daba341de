//! A crash, or a failure of the disk, at every single operation of a repair.

use std::path::PathBuf;

use quorate_faulty_vfs::{Fault, Filter, OperationKind};

use super::{Twin, wipe};
use crate::support::{Disk, Fixture, PowerCut, segment_path, shared_engine};

const SEGMENT: u64 = 2;

type Damage<'a> = Box<dyn Fn(&Disk) + 'a>;

/// A payload, several places, the header, all of the file.
fn damages(twin: &Twin) -> Vec<Damage<'_>> {
    let frames = twin.frames(SEGMENT);
    let end = frames.last().unwrap().position + frames.last().unwrap().bytes;
    vec![
        Box::new(move |disk| wipe(disk, SEGMENT, end - 4..end)),
        Box::new(move |disk| {
            wipe(disk, SEGMENT, frames[0].position + 9..frames[1].position + 1);
            wipe(disk, SEGMENT, frames[3].position..frames[3].position + 1);
        }),
        Box::new(|disk| wipe(disk, SEGMENT, 3..30)),
        Box::new(|disk| disk.lose(&segment_path(SEGMENT))),
    ]
}

/// The segment's file, if it is there.
fn file(disk: &Disk) -> Option<Vec<u8>> {
    let path = segment_path(SEGMENT);
    disk.paths().contains(&path).then(|| disk.bytes(&path))
}

/// The log on a disk, opened by another process.
fn reopened(disk: &Disk, context: &str) -> Fixture {
    let mut fixture = Fixture::closed(1_400);
    (fixture.engine, fixture.disk) = (shared_engine(0), disk.fork());
    fixture.options.settled_through = Some(29);
    fixture.open().unwrap_or_else(|error| panic!("{context}: {error}"));
    fixture
}

fn unfinished(disk: &Disk) -> Vec<PathBuf> {
    disk.paths().into_iter().filter(|path| path.to_string_lossy().ends_with(".new")).collect()
}

#[test]
fn a_crash_after_any_operation_leaves_the_damaged_or_the_repaired_file_whole() {
    let twin = Twin::new();
    for (case, damage) in damages(&twin).iter().enumerate() {
        let fixture = twin.damaged(damage);
        // What the open itself has left to do is done.
        fixture.barrier();
        let (damaged, others) = (file(&fixture.disk), fixture.disk.contents().len());
        fixture.disk.record();
        twin.repair(&fixture, SEGMENT).unwrap();
        fixture.barrier();
        let repaired = file(&fixture.disk);
        let journal = fixture.disk.stop_recording();
        assert!(journal.len() > 8 && others > 10, "{} operations", journal.len());
        let (mut as_before, mut as_after) = (0, 0);
        for (length, disk) in journal.prefixes() {
            let seeds = (0..6).map(|seed| PowerCut::Any(seed + 6 * length as u64));
            for cut in [None, Some(PowerCut::LoseAll), Some(PowerCut::KeepAll)].into_iter().chain(seeds.map(Some)) {
                let context = format!("damage {case}, {cut:?} after {length} operations");
                let disk = disk.fork();
                cut.iter().for_each(|cut| disk.power_cut(*cut));
                let found = file(&disk);
                assert!(found == damaged || found == repaired, "{context}");
                let fixture = reopened(&disk, &context);
                assert!(unfinished(&fixture.disk).is_empty(), "{context}: the open removes what is not finished");
                if found == repaired {
                    as_after += 1;
                    twin.check_open(&fixture, &context);
                } else {
                    as_before += 1;
                    assert_eq!(fixture.log().next_index(), 30);
                }
                twin.repair(&fixture, SEGMENT).unwrap_or_else(|error| panic!("{context}: {error}"));
                twin.check_open(&fixture, &context);
                fixture.disk.power_cut(PowerCut::LoseAll);
                twin.check(reopened(&fixture.disk, &context), &context);
            }
        }
        assert!(as_before > 10 && as_after > 10, "{as_before}, {as_after}");
    }
}

#[test]
fn what_a_repair_has_reported_is_on_stable_storage() {
    let twin = Twin::new();
    for damage in damages(&twin) {
        let fixture = twin.damaged(damage);
        twin.repair(&fixture, SEGMENT).unwrap();
        // Its index may still be to come.
        fixture.disk.power_cut(PowerCut::LoseAll);
        twin.check(reopened(&fixture.disk, "after the power cut"), "after the power cut");
    }
}

#[test]
fn a_failure_of_the_disk_at_any_operation_leaves_the_log_as_it_was() {
    let twin = Twin::new();
    let (mut failed, mut unharmed) = (0, 0);
    for damage in damages(&twin) {
        for kind in OperationKind::ALL {
            for occurrence in 0.. {
                let fixture = twin.damaged(&damage);
                fixture.barrier();
                let fault = fixture.disk.inject(Filter::on(kind).nth(occurrence), Fault::Full);
                let result = twin.repair(&fixture, SEGMENT);
                let context = format!("{kind:?} {occurrence}: {result:?}");
                fixture.disk.heal_all();
                if fixture.disk.struck(fault) == 0 {
                    result.unwrap();
                    break;
                }
                (failed, unharmed) = (failed + u32::from(result.is_err()), unharmed + u32::from(result.is_ok()));
                assert!(fixture.log().failure().is_none(), "{context}");
                // What is left of an index is in the way of nobody.
                let left = unfinished(&fixture.disk).iter().any(|path| path.to_string_lossy().ends_with(".log.new"));
                assert!(!left || kind == OperationKind::Remove, "{context}");
                fixture.vote(twin.vote, 3).unwrap();
                twin.repair(&fixture, SEGMENT).unwrap_or_else(|error| panic!("{context}: {error}"));
                twin.check(fixture, &context);
            }
        }
    }
    assert!(failed > 30 && unharmed > 0, "{failed}, {unharmed}");
}

#[test]
fn after_no_crash_an_index_of_the_damaged_file_is_used_with_the_repaired_one() {
    let (mut fixture, entries) = super::with_votes_between();
    fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
    fixture.disk.lose(&segment_path(0));
    assert_eq!(fixture.log().scrub().damages, 1);
    fixture.disk.record();
    // The votes come back behind the entries, not between them: no place in the old index is right any more.
    fixture.log().repair(0, &mut super::peer(&entries)).unwrap();
    fixture.barrier();
    let mut repaired = 0;
    for (length, disk) in fixture.disk.stop_recording().prefixes() {
        for cut in (0..20).map(|seed| PowerCut::KeepSome(seed + 20 * length as u64)) {
            let disk = disk.fork();
            disk.power_cut(cut);
            if disk.paths().contains(&segment_path(0)) {
                let mut again = Fixture::closed(100_000);
                (again.engine, again.disk) = (shared_engine(0), disk);
                again.options.settled_through = Some(entries.len() as u64 - 1);
                again.open().unwrap();
                super::check_all_reads(&again, &entries);
                repaired += 1;
            }
        }
    }
    assert!(repaired > 20, "{repaired}");
}
