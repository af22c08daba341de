//! Syncs that return success and make nothing durable.

use std::path::Path;

use quorate_faulty_vfs::{Filter, OperationKind, PowerCut};

use crate::support::{DIRECTORY, at, disk, durable, names, write};

#[test]
fn an_ignored_file_sync_succeeds_and_makes_nothing_durable() {
    let (disk, vfs) = disk();
    let fault = disk.ignore_syncs(Filter::on(OperationKind::SyncFile).nth(1));
    let file = durable(&vfs, "a", b"one");
    write(&file, b"two", 3).unwrap();
    file.sync_data().unwrap();
    assert_eq!(disk.struck(fault), 1);
    let fork = disk.fork();
    fork.power_cut(PowerCut::LoseAll);
    assert_eq!(fork.bytes(&at("a")), b"one");
    // Unlike after a failed sync, the pages are still dirty.
    file.sync_data().unwrap();
    disk.power_cut(PowerCut::LoseAll);
    assert_eq!(disk.bytes(&at("a")), b"onetwo");
}

#[test]
fn an_ignored_directory_sync_succeeds_and_makes_no_name_durable() {
    let (disk, vfs) = disk();
    let fault = disk.ignore_syncs(Filter::on(OperationKind::SyncDirectory));
    durable(&vfs, "a", b"a");
    disk.heal(fault);
    disk.power_cut(PowerCut::LoseAll);
    assert_eq!(names(&disk), [""; 0]);
    assert_eq!(disk.struck(fault), 1);
}

#[test]
fn a_suffix_chooses_the_files_whose_syncs_are_ignored() {
    let (disk, vfs) = disk();
    disk.ignore_syncs(Filter::on(OperationKind::SyncFile).suffix(".log"));
    durable(&vfs, "a.log", b"lost");
    durable(&vfs, "a.index", b"kept");
    let file = vfs.open(&at("a.log")).unwrap();
    vfs.rename(&at("a.log"), &at("b")).unwrap();
    disk.power_cut(PowerCut::LoseAll);
    assert_eq!(disk.contents(), [(at("a.index"), b"kept".to_vec()), (at("a.log"), Vec::new())]);
    // The handle follows the name its file has.
    drop(file);
    let vfs = disk.vfs();
    let file = vfs.open(&at("a.log")).unwrap();
    vfs.rename(&at("a.log"), &at("c")).unwrap();
    vfs.sync_directory(Path::new(DIRECTORY)).unwrap();
    write(&file, b"now kept", 0).unwrap();
    file.sync_data().unwrap();
    disk.power_cut(PowerCut::LoseAll);
    assert_eq!(disk.bytes(&at("c")), b"now kept");
}

#[test]
#[should_panic(expected = "cannot strike any operation")]
fn a_fault_that_could_never_strike_is_refused() {
    disk().0.ignore_syncs(Filter::on(OperationKind::Write));
}
