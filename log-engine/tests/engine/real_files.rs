//! The real file system: the system calls that make things durable are made. What they do is the kernel's business; that
//! they are made shows where the kernel must refuse them.

use std::{io, path::Path, process::Command};

use quorate_log_engine::{RealVfs, Vfs};

fn is_invalid(result: io::Result<()>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput)
}

#[cfg(target_os = "linux")]
#[test]
fn a_sync_of_data_reaches_the_kernel() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // A pipe has no data to be synced, and the kernel says so.
    assert!(is_invalid(RealVfs.open(&path).unwrap().sync_data()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_sync_of_a_directory_reaches_the_kernel() {
    // Nothing under /proc can be synced.
    assert!(is_invalid(RealVfs.sync_directory(Path::new("/proc/self"))));
    assert!(is_invalid(RealVfs.create_directory(Path::new("/proc/self"))), "the parent of an old directory is synced");
    let directory = tempfile::tempdir().unwrap();
    RealVfs.sync_directory(directory.path()).unwrap();
    assert!(RealVfs.sync_directory(&directory.path().join("none")).is_err());
}

#[test]
fn a_file_opened_for_reading_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let file = RealVfs.create(&path).unwrap();
    file.write_all_at(&[io::IoSlice::new(b"content")], 0).unwrap();
    let reading = RealVfs.open_read_only(&path).unwrap();
    assert!(reading.write_all_at(&[io::IoSlice::new(b"other")], 0).is_err() && reading.truncate(0).is_err());
    reading.will_not_need(0..7);
    assert_eq!((reading.size().unwrap(), std::fs::read(&path).unwrap()), (7, b"content".to_vec()));
    RealVfs.rename(&path, &directory.path().join("renamed")).unwrap();
    assert_eq!(RealVfs.list(directory.path()).unwrap(), ["renamed"]);
}

#[test]
fn a_write_of_more_slices_than_one_call_takes_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let file = RealVfs.create(&directory.path().join("file")).unwrap();
    let bytes: Vec<u8> = (0..5_000_u32).map(|at| at as u8).collect();
    let slices: Vec<_> = bytes.chunks(2).map(io::IoSlice::new).collect();
    file.write_all_at(&slices, 3).unwrap();
    let mut found = vec![0; 5_003];
    assert_eq!(file.read_at(&mut found, 0).unwrap(), 5_003);
    assert_eq!(found[3..], bytes);
}

#[test]
fn the_room_of_a_file_system_is_told() {
    let directory = tempfile::tempdir().unwrap();
    assert!(RealVfs.available_bytes(directory.path()).unwrap() > 0);
    assert!(RealVfs.available_bytes(&directory.path().join("none")).is_err());
}
