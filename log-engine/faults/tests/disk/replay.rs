//! A journal builds the disk again, as it was after any of its operations.

use std::{path::Path, sync::Arc};

use quorate_faulty_vfs::{Disk, Filter, OperationKind, PowerCut, SyncEffect};
use quorate_log_engine::Vfs;

use crate::support::{DIRECTORY, at, disk, durable, write};

/// Does one thing of every kind that changes the disk; as far as the disk lets it.
fn workload(vfs: &Arc<dyn Vfs>) -> std::io::Result<()> {
    vfs.create_directory(&at("e"))?;
    let file = vfs.create(&at("tmp"))?;
    write(&file, &[1; 1_300], 0)?;
    write(&file, &[2; 10], 40)?;
    file.sync_data()?;
    vfs.rename(&at("tmp"), &at("a"))?;
    vfs.sync_directory(Path::new(DIRECTORY))?;
    file.truncate(600)?;
    write(&file, &[3; 900], 600)?;
    vfs.create(&at("e/b"))?;
    vfs.remove_file(&at("a"))?;
    vfs.sync_directory(Path::new(DIRECTORY))?;
    vfs.remove_directory(&at("e"))
}

#[test]
fn a_replayed_prefix_is_the_disk_of_a_process_that_died_there() {
    let (disk, vfs) = disk();
    let start = disk.fork();
    disk.record();
    workload(&vfs).unwrap();
    let journal = disk.stop_recording();
    assert_eq!(journal.len(), 14, "the removal of the directory with its file is two");
    for (length, prefix) in journal.prefixes() {
        let died = start.fork();
        let vfs = died.vfs();
        died.crash_after(length as u64);
        assert_eq!(workload(&vfs).is_ok(), length == journal.len());
        assert_eq!(died.changes(), length as u64);
        assert_eq!(prefix.contents(), died.contents(), "after {length} operations");
        for cut in [PowerCut::LoseAll, PowerCut::KeepAll, PowerCut::KeepSome(length as u64), PowerCut::Any(3)] {
            let fork = died.fork();
            fork.power_cut(cut);
            assert_eq!(Disk::replay(&journal, length, cut).contents(), fork.contents(), "{cut:?} after {length}");
            let fork = prefix.fork();
            fork.power_cut(cut);
            assert_eq!(Disk::replay(&journal, length, cut).contents(), fork.contents(), "{cut:?} after {length}");
        }
    }
    assert_eq!(journal.prefixes().count(), journal.len() + 1);
}

#[test]
fn a_journal_goes_on_over_power_cuts_damage_and_new_processes() {
    let (disk, vfs) = disk();
    disk.record();
    let file = durable(&vfs, "a", &[1; 2_000]);
    durable(&vfs, "b", b"b");
    write(&file, &[2; 3_000], 1_000).unwrap();
    disk.power_cut(PowerCut::KeepSome(5));
    disk.damage(&at("a"), |bytes| bytes[3] = 9);
    disk.flip(&at("a"), 4, 0x80);
    disk.lose(&at("b"));
    let file = disk.vfs().open(&at("a")).unwrap();
    write(&file, b"later", 100).unwrap();
    let fork = disk.fork();
    fork.power_cut(PowerCut::KeepAll);
    let journal = disk.stop_recording();
    assert_eq!(Disk::replay(&journal, journal.len(), PowerCut::KeepAll).contents(), fork.contents());
    assert_eq!(fork.bytes(&at("a"))[3..5], [9, 0x81]);
}

#[test]
fn the_notes_of_a_prefix_are_those_made_by_then() {
    let (disk, vfs) = disk();
    disk.note(0);
    disk.record();
    let file = vfs.create(&at("a")).unwrap();
    disk.note(1);
    write(&file, b"1", 0).unwrap();
    write(&file, b"2", 1).unwrap();
    disk.note(2);
    disk.note(3);
    let journal = disk.stop_recording();
    let notes: Vec<Vec<u64>> = (0..=3).map(|length| journal.notes(length).collect()).collect();
    assert_eq!(notes, [vec![], vec![1], vec![1], vec![1, 2, 3]]);
}

#[test]
fn a_journal_without_its_syncs_is_the_workload_on_a_disk_that_lies() {
    let (disk, vfs) = disk();
    disk.record();
    durable(&vfs, "a", b"a");
    durable(&vfs, "b", b"b");
    let journal = disk.stop_recording();
    let survive = |filter: Filter, count| {
        let mut journal = journal.clone();
        assert_eq!(journal.ignore_syncs(filter), count);
        Disk::replay(&journal, journal.len(), PowerCut::LoseAll).contents()
    };
    let (a, b) = ((at("a"), b"a".to_vec()), (at("b"), b"b".to_vec()));
    assert_eq!(survive(Filter::syncs().suffix("/nothing"), 0), [a.clone(), b.clone()]);
    assert_eq!(survive(Filter::on(OperationKind::SyncFile).nth(1), 1), [a.clone(), (at("b"), Vec::new())]);
    assert_eq!(survive(Filter::on(OperationKind::SyncFile).suffix("/a"), 1), [(at("a"), Vec::new()), b]);
    assert_eq!(survive(Filter::on(OperationKind::SyncDirectory).nth(1), 1), [a]);
    assert_eq!(survive(Filter::syncs(), 4), []);
}

#[test]
fn the_journal_says_what_each_operation_was() {
    let (disk, vfs) = disk();
    disk.record();
    disk.fail_next_sync();
    let file = vfs.create(&at("a")).unwrap();
    write(&file, b"four", 8).unwrap();
    file.sync_data().unwrap_err();
    vfs.rename(&at("a"), &at("b")).unwrap();
    file.sync_data().unwrap();
    let journal = disk.stop_recording();
    let lines: Vec<_> = journal.operations().iter().map(ToString::to_string).collect();
    let expected =
        ["create /d/a", "write 4 bytes at 8 of /d/a", "sync /d/a: Failed", "rename /d/a to /d/b", "sync /d/b: Durable"];
    assert_eq!(lines, expected);
    assert_eq!(journal.operations()[2].kind(), Some(OperationKind::SyncFile));
    assert_eq!(journal.operations()[4].path(), Some(&*at("b")));
    assert_ne!(SyncEffect::Failed, SyncEffect::Ignored);
}
