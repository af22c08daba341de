use std::{
    io::IoSlice,
    time::{Duration, Instant},
};

use super::*;
use crate::node_faults::{FAULTS, NodeFaults};

/// A disk before and after any number of kills: each [`Disk::vfs`] is that of a new process.
struct Disk {
    root: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn vfs(&self) -> PowerLossVfs {
        PowerLossVfs::new(self.root.path().join(HOLD_SYNC))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn list(&self, vfs: &PowerLossVfs) -> Vec<String> {
        vfs.list(self.root.path()).unwrap()
    }
}

fn write(file: &Arc<dyn VfsFile>, position: u64, bytes: &[u8]) {
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    file.write_all_at(&[IoSlice::new(head), IoSlice::new(tail)], position).unwrap();
}

fn content(file: &Arc<dyn VfsFile>) -> Vec<u8> {
    let mut buffer = vec![0xAA; file.size().unwrap() as usize + 3];
    let read = file.read_at(&mut buffer, 0).unwrap();
    buffer.truncate(read);
    buffer
}

fn durable_file(disk: &Disk, name: &str, bytes: &[u8]) {
    let vfs = disk.vfs();
    let file = vfs.create(&disk.path(name)).unwrap();
    write(&file, 0, bytes);
    file.sync_data().unwrap();
    vfs.sync_directory(disk.root.path()).unwrap();
}

#[test]
fn what_a_failed_sync_was_to_write_is_seen_and_never_written() {
    let disk = Disk::new();
    durable_file(&disk, "a", b"0123");
    let faults = Watched::start(disk.path(FAULTS));
    let vfs = PowerLossVfs::torn(disk.path(HOLD_SYNC), Arc::clone(&faults), 1);
    let file = vfs.open(&disk.path("a")).unwrap();
    let fail = |syncs_fail| {
        NodeFaults { syncs_fail, ..NodeFaults::default() }.install(disk.root.path()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while faults.now().syncs_fail != syncs_fail {
            assert!(Instant::now() < deadline, "the faults are not looked at");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    fail(true);
    file.truncate(2).unwrap();
    assert!(file.sync_data().is_err());
    fail(false);
    write(&file, 2, b"cd");
    file.sync_data().unwrap();
    assert_eq!(content(&file), b"01cd");
    file.truncate(4).unwrap();
    file.sync_data().unwrap();
    assert_eq!(
        content(&disk.vfs().open(&disk.path("a")).unwrap()),
        b"01cd",
        "the first truncation would have cut nothing"
    );
    fail(true);
    file.truncate(1).unwrap();
    assert!(file.sync_data().is_err());
    fail(false);
    file.sync_data().unwrap();
    assert_eq!(content(&file), b"0");
    assert_eq!(content(&disk.vfs().open(&disk.path("a")).unwrap()), b"01cd", "it is lost");
}

#[test]
fn of_some_unsynced_writes_whole_sectors_are_left() {
    const SIZE: usize = 3_000;
    let (mut torn, mut whole) = (0, 0);
    for seed in 0..200 {
        let disk = Disk::new();
        let start = 100 + seed % 700;
        durable_file(&disk, "a", &vec![1; start as usize]);
        let vfs = PowerLossVfs::torn(disk.path(HOLD_SYNC), Arc::default(), seed);
        let file = vfs.open(&disk.path("a")).unwrap();
        write(&file, start, &[2; SIZE]);
        let expected = [vec![1; start as usize], vec![2; SIZE]].concat();
        assert_eq!(content(&file), expected);
        let left = content(&disk.vfs().open(&disk.path("a")).unwrap());
        assert_eq!(left[..start as usize], expected[..start as usize], "what was synced stays");
        // From one sector to the next, all or nothing of it is there.
        let boundaries = (1..left.len()).filter(|at| *at as u64 > start && left[*at] != left[at - 1]);
        assert!(boundaries.clone().all(|at| at % 512 == 0), "seed {seed}");
        match left.len() as u64 > start {
            true => torn += 1,
            false => whole += 1,
        }
        file.sync_data().unwrap();
        assert_eq!(content(&disk.vfs().open(&disk.path("a")).unwrap()), expected);
    }
    assert!(torn > 20 && whole > 100, "{torn} torn, {whole} not");
}

#[test]
fn writes_are_seen_at_once_and_lost_unless_synced() {
    let disk = Disk::new();
    durable_file(&disk, "a", b"0123456789");
    let vfs = disk.vfs();
    let file = vfs.open(&disk.path("a")).unwrap();
    write(&file, 8, b"abcd");
    assert_eq!(content(&file), b"01234567abcd");
    assert_eq!(content(&vfs.open(&disk.path("a")).unwrap()), b"01234567abcd", "another handle");
    assert_eq!(content(&disk.vfs().open(&disk.path("a")).unwrap()), b"0123456789", "after a kill");
    file.sync_data().unwrap();
    assert_eq!(content(&disk.vfs().open(&disk.path("a")).unwrap()), b"01234567abcd");
}

#[test]
fn truncations_and_writes_take_effect_in_their_order() {
    let disk = Disk::new();
    durable_file(&disk, "a", b"0123456789");
    let file = disk.vfs().open(&disk.path("a")).unwrap();
    write(&file, 10, b"tail");
    file.truncate(4).unwrap();
    write(&file, 6, b"xy");
    assert_eq!(content(&file), b"0123\0\0xy");
    let mut middle = [0xAA; 3];
    assert_eq!(file.read_at(&mut middle, 5).unwrap(), 3);
    assert_eq!(&middle, b"\0xy");
    assert_eq!(file.read_at(&mut middle, 9).unwrap(), 0);
    assert_eq!(content(&disk.vfs().open(&disk.path("a")).unwrap()), b"0123456789", "after a kill");
    file.sync_data().unwrap();
    assert_eq!(content(&disk.vfs().open(&disk.path("a")).unwrap()), b"0123\0\0xy");
}

#[test]
fn a_new_file_is_lost_unless_its_directory_is_synced() {
    let disk = Disk::new();
    let vfs = disk.vfs();
    let file = vfs.create(&disk.path("a")).unwrap();
    write(&file, 0, b"new");
    file.sync_data().unwrap();
    assert_eq!(disk.list(&vfs), ["a"]);
    assert!(vfs.create(&disk.path("a")).is_err(), "it exists");
    let killed = disk.vfs();
    assert!(disk.list(&killed).is_empty());
    assert!(killed.open(&disk.path("a")).is_err());
    let again = killed.create(&disk.path("a")).unwrap();
    assert_eq!(content(&again), b"", "nothing of the lost file is left");
    write(&again, 0, b"again");
    killed.sync_directory(disk.root.path()).unwrap();
    assert_eq!(content(&again), b"again");
    let killed = disk.vfs();
    assert_eq!(content(&killed.open(&disk.path("a")).unwrap()), b"", "its name was synced, its bytes were not");
    assert!(killed.create(&disk.path("a")).is_err());
}

#[test]
fn a_removed_file_returns_unless_its_directory_is_synced() {
    let disk = Disk::new();
    durable_file(&disk, "a", b"old");
    let vfs = disk.vfs();
    vfs.remove_file(&disk.path("a")).unwrap();
    assert!(vfs.open(&disk.path("a")).is_err() && vfs.remove_file(&disk.path("a")).is_err());
    assert!(disk.list(&vfs).is_empty());
    assert_eq!(disk.list(&disk.vfs()), ["a"], "after a kill");
    let file = vfs.create(&disk.path("a")).unwrap();
    write(&file, 0, b"new");
    file.sync_data().unwrap();
    assert_eq!(content(&disk.vfs().open(&disk.path("a")).unwrap()), b"old", "after a kill");
    vfs.sync_directory(disk.root.path()).unwrap();
    assert_eq!(content(&disk.vfs().open(&disk.path("a")).unwrap()), b"new");
}

#[test]
fn a_sync_waits_while_it_is_held() {
    let disk = Disk::new();
    durable_file(&disk, "a", b"old");
    let hold = disk.path(HOLD_SYNC);
    fs::write(&hold, b"").unwrap();
    let vfs = disk.vfs();
    let file = vfs.open(&disk.path("a")).unwrap();
    write(&file, 0, b"new");
    let (sender, synced) = std::sync::mpsc::channel();
    let syncing = file.clone();
    std::thread::spawn(move || sender.send(syncing.sync_data()));
    assert!(synced.recv_timeout(std::time::Duration::from_millis(50)).is_err(), "held");
    assert_eq!(content(&file), b"new", "reads go on");
    assert_eq!(content(&disk.vfs().open(&disk.path("a")).unwrap()), b"old", "after a kill");
    fs::remove_file(&hold).unwrap();
    synced.recv().unwrap().unwrap();
    assert_eq!(content(&disk.vfs().open(&disk.path("a")).unwrap()), b"new");
}

#[test]
fn a_file_that_replaces_another_is_there_after_the_sync_of_the_directory_and_the_other_before() {
    let directory = tempfile::TempDir::new().unwrap();
    let (old, new) = (directory.path().join("a"), directory.path().join("a.new"));
    let write = |vfs: &PowerLossVfs, path: &Path, bytes: &[u8]| {
        let file = vfs.create(path).unwrap();
        file.write_all_at(&[std::io::IoSlice::new(bytes)], 0).unwrap();
        file.sync_data().unwrap();
    };
    let vfs = PowerLossVfs::new(directory.path().join("hold"));
    write(&vfs, &old, b"old");
    vfs.sync_directory(directory.path()).unwrap();
    for synced_between in [false, true] {
        write(&vfs, &new, b"new");
        if synced_between {
            // As another thread may do for a file of its own.
            vfs.sync_directory(directory.path()).unwrap();
        }
        vfs.rename(&new, &old).unwrap();
        assert_eq!(vfs.open(&old).unwrap().size().unwrap(), 3);
        assert_eq!(std::fs::read(&old).unwrap(), if synced_between { *b"new" } else { *b"old" }, "what a cut leaves");
        vfs.sync_directory(directory.path()).unwrap();
        assert_eq!(std::fs::read(&old).unwrap(), b"new");
    }
    write(&vfs, &new, b"newer");
    vfs.rename(&new, &old).unwrap();
    vfs.remove_file(&old).unwrap();
    assert!(vfs.open(&old).is_err(), "both are gone");
    assert_eq!(std::fs::read(&old).unwrap(), b"new", "until the directory is synced");
    vfs.sync_directory(directory.path()).unwrap();
    assert!(!old.exists());
}
