//! Processes come and go; the disk stays.

use std::{io, path::Path};

use quorate_faulty_vfs::{Disk, FILE_BYTES_MAX, PowerCut};

use crate::support::{DIRECTORY, at, disk, durable, names, read, write};

#[test]
fn handles_of_a_dead_process_do_nothing() {
    let end_by: [fn(&Disk); 2] = [|disk| drop(disk.vfs()), |disk| disk.power_cut(PowerCut::KeepAll)];
    for end in end_by {
        let (disk, vfs) = disk();
        let file = durable(&vfs, "a", b"bytes");
        let before = disk.contents();
        end(&disk);
        assert!(write(&file, b"x", 0).is_err() && file.truncate(0).is_err() && file.sync_data().is_err());
        assert!(read(&file, 0, 1).is_err() && file.size().is_err() && vfs.open(&at("a")).is_err());
        assert!(vfs.create(&at("b")).is_err() && vfs.remove_file(&at("a")).is_err());
        assert!(vfs.rename(&at("a"), &at("b")).is_err() && vfs.create_directory(&at("e")).is_err());
        assert!(vfs.list(Path::new(DIRECTORY)).is_err() && vfs.sync_directory(Path::new(DIRECTORY)).is_err());
        assert!(vfs.remove_directory(Path::new(DIRECTORY)).is_err());
        assert_eq!(disk.contents(), before);
    }
}

#[test]
fn what_a_killed_process_wrote_is_there_while_the_power_is_on() {
    let (disk, vfs) = disk();
    write(&vfs.create(&at("a")).unwrap(), b"unsynced", 0).unwrap();
    let file = disk.vfs().open(&at("a")).unwrap();
    assert_eq!(read(&file, 2, 3).unwrap(), b"syn");
}

#[test]
fn a_process_makes_as_many_changes_as_it_may_and_no_more() {
    for max in 0..4 {
        let (disk, _) = disk();
        let vfs = disk.vfs();
        disk.crash_after(max);
        let outcome = vfs.create(&at("a")).and_then(|file| {
            read(&file, 0, 1)?;
            write(&file, b"1", 0)?;
            file.sync_data()
        });
        assert_eq!((outcome.is_ok(), disk.changes()), (max == 3, max));
        assert_eq!(names(&disk).len() as u64, max.min(1));
        assert!(vfs.list(Path::new(DIRECTORY)).is_ok(), "it may still read");
        disk.vfs().create(&at("b")).unwrap();
    }
}

#[test]
fn a_handle_for_reading_cannot_write() {
    let (disk, vfs) = disk();
    durable(&vfs, "a", b"bytes");
    let file = vfs.open_read_only(&at("a")).unwrap();
    assert_eq!(write(&file, b"x", 0).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(file.truncate(0).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert_eq!((read(&file, 0, 9).unwrap(), file.size().unwrap()), (b"bytes".to_vec(), 5));
    assert_eq!(disk.bytes(&at("a")), b"bytes");
}

#[test]
fn an_open_file_outlives_its_name() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", b"old");
    vfs.remove_file(&at("a")).unwrap();
    vfs.sync_directory(Path::new(DIRECTORY)).unwrap();
    durable(&vfs, "a", b"new");
    write(&file, b"er", 3).unwrap();
    assert_eq!(read(&file, 0, 9).unwrap(), b"older");
    assert_eq!(disk.bytes(&at("a")), b"new");
}

#[test]
fn what_cannot_be_done_is_refused_as_a_file_system_does() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", b"");
    vfs.create_directory(&at("e/f")).unwrap();
    let kind = |outcome: io::Result<()>| outcome.unwrap_err().kind();
    assert_eq!(kind(vfs.create(&at("a")).map(drop)), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(vfs.create(&at("missing/a")).map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(vfs.open(&at("b")).map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(vfs.remove_file(&at("b"))), io::ErrorKind::NotFound);
    assert_eq!(kind(vfs.rename(&at("b"), &at("c"))), io::ErrorKind::NotFound);
    assert_eq!(kind(vfs.rename(&at("a"), &at("e/a"))), io::ErrorKind::Unsupported);
    assert_eq!(kind(vfs.rename(&at("a"), &at("e"))), io::ErrorKind::IsADirectory);
    assert_eq!(kind(vfs.list(&at("missing")).map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(vfs.sync_directory(&at("missing"))), io::ErrorKind::NotFound);
    assert_eq!(kind(vfs.create_directory(&at("a/b"))), io::ErrorKind::NotADirectory);
    assert_eq!(kind(write(&file, b"x", FILE_BYTES_MAX)), io::ErrorKind::FileTooLarge);
    assert_eq!(kind(write(&file, b"x", u64::MAX)), io::ErrorKind::FileTooLarge);
    assert_eq!(vfs.list(Path::new(DIRECTORY)).unwrap(), ["a", "e"]);
    assert_eq!(vfs.list(&at("e")).unwrap(), ["f"]);
    assert_eq!(names(&disk), ["a"]);
}

#[test]
fn a_fork_and_its_origin_go_their_own_ways() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", b"one");
    write(&file, b"two", 3).unwrap();
    let fork = disk.fork();
    write(&file, b"!", 0).unwrap();
    file.sync_data().unwrap();
    let other = fork.vfs().open(&at("a")).unwrap();
    assert_eq!(read(&other, 0, 9).unwrap(), b"onetwo");
    fork.power_cut(PowerCut::LoseAll);
    assert_eq!((fork.bytes(&at("a")), disk.bytes(&at("a"))), (b"one".to_vec(), b"!netwo".to_vec()));
}

#[test]
fn damage_and_loss_are_for_ever() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", b"sound");
    durable(&vfs, "b", b"b");
    vfs.create(&at("c")).unwrap();
    disk.damage(&at("a"), |bytes| bytes.truncate(2));
    disk.lose(&at("b"));
    disk.lose(&at("c"));
    assert_eq!(read(&file, 0, 9).unwrap(), b"so");
    vfs.sync_directory(Path::new(DIRECTORY)).unwrap();
    assert_eq!(disk.bytes_used(), 2);
    disk.power_cut(PowerCut::KeepAll);
    assert_eq!(disk.contents(), [(at("a"), b"so".to_vec())]);
    assert_eq!(Disk::of(&disk.contents()).contents(), disk.contents());
}
