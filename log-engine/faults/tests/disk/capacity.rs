//! A disk that fills up, and has room again.

use std::io::ErrorKind::StorageFull;

use quorate_faulty_vfs::PowerCut;

use crate::support::{at, disk, durable, write};

#[test]
fn a_full_disk_takes_what_fits_and_refuses_the_rest() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", &[1; 60]);
    disk.set_capacity(Some(100));
    assert_eq!(write(&file, &[2; 50], 60).unwrap_err().kind(), StorageFull);
    assert_eq!((disk.bytes(&at("a")).len(), disk.bytes_used()), (100, 100), "partly written");
    assert_eq!(write(&file, &[2], 100).unwrap_err().kind(), StorageFull);
    assert_eq!(write(&file, &[2], 500).unwrap_err().kind(), StorageFull, "a hole is no way round");
    assert_eq!(file.truncate(101).unwrap_err().kind(), StorageFull);
    assert_eq!(vfs.create(&at("b")).unwrap_err().kind(), StorageFull);
    assert_eq!(disk.bytes_used(), 100);
    write(&file, &[3; 100], 0).unwrap();
    file.sync_data().unwrap();
    disk.power_cut(PowerCut::LoseAll);
    assert_eq!(disk.bytes(&at("a")), [3; 100], "what is there can be written over, and synced");
}

#[test]
fn removals_truncations_replacements_and_a_larger_disk_make_room() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", &[1; 50]);
    durable(&vfs, "b", &[1; 30]);
    durable(&vfs, "c", &[1; 20]);
    disk.set_capacity(Some(100));
    let fill = || {
        let start = file.size().unwrap();
        let wanted = 1_000;
        assert_eq!(write(&file, &vec![2; wanted], start).unwrap_err().kind(), StorageFull);
        file.size().unwrap() - start
    };
    assert_eq!(fill(), 0);
    file.truncate(40).unwrap();
    assert_eq!(fill(), 10);
    vfs.remove_file(&at("b")).unwrap();
    assert_eq!(fill(), 30);
    vfs.rename(&at("a"), &at("c")).unwrap();
    assert_eq!(fill(), 20);
    disk.set_capacity(Some(130));
    assert_eq!(fill(), 30);
    disk.set_capacity(None);
    write(&file, &[2; 1_000], 130).unwrap();
    assert_eq!(disk.bytes_used(), 1_130);
}

#[test]
fn a_power_cut_gives_back_the_room_of_what_it_loses_and_takes_that_of_what_comes_back() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", &[1; 10]);
    write(&file, &[1; 90], 10).unwrap();
    vfs.create(&at("b")).unwrap();
    let fork = disk.fork();
    fork.power_cut(PowerCut::LoseAll);
    assert_eq!((disk.bytes_used(), fork.bytes_used()), (100, 10));
    vfs.remove_file(&at("a")).unwrap();
    assert_eq!(disk.bytes_used(), 0);
    disk.power_cut(PowerCut::LoseAll);
    assert_eq!(disk.bytes_used(), 10);
}

#[test]
fn the_room_left_is_told() {
    let (disk, vfs) = disk();
    let directory = at("a").parent().unwrap().to_owned();
    durable(&vfs, "a", &[1; 60]);
    assert_eq!(vfs.available_bytes(&directory).unwrap(), u64::MAX);
    disk.set_capacity(Some(100));
    assert_eq!(vfs.available_bytes(&directory).unwrap(), 40);
    disk.set_capacity(Some(50));
    assert_eq!(vfs.available_bytes(&directory).unwrap(), 0);
    assert!(vfs.available_bytes(&directory.join("none")).is_err());
    disk.power_cut(PowerCut::LoseAll);
    assert!(vfs.available_bytes(&directory).is_err(), "the process is dead");
}
