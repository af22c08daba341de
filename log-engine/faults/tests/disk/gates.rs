//! Operations that wait until the test lets them go on.

use std::{sync::mpsc, thread};

use quorate_faulty_vfs::{OperationKind, PowerCut};

use crate::support::{at, disk, durable, write};

#[test]
fn a_closed_gate_holds_its_operations_and_no_others() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", b"");
    disk.close_syncs();
    disk.close_writes();
    let (done, finished) = mpsc::channel();
    let (writer, writer_done) = (file.clone(), done.clone());
    thread::spawn(move || writer_done.send(("write", write(&writer, b"x", 0).is_ok())).unwrap());
    disk.wait_for_write();
    let syncer = file.clone();
    thread::spawn(move || done.send(("sync", syncer.sync_data().is_ok())).unwrap());
    disk.wait_for_sync();
    vfs.create(&at("b")).unwrap();
    assert!(finished.try_recv().is_err() && disk.bytes(&at("a")).is_empty());
    disk.open_gate(OperationKind::SyncFile);
    assert_eq!(finished.recv().unwrap(), ("sync", true));
    assert!(disk.bytes(&at("a")).is_empty());
    disk.open_gates();
    assert_eq!(finished.recv().unwrap(), ("write", true));
    assert_eq!(disk.bytes(&at("a")), b"x");
}

#[test]
fn whoever_waits_at_a_gate_when_the_power_fails_fails_at_once() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", b"");
    disk.close_gate(OperationKind::Write);
    let writer = thread::spawn(move || write(&file, b"x", 0));
    disk.wait_at_gate(OperationKind::Write);
    disk.power_cut(PowerCut::KeepAll);
    assert_eq!(writer.join().unwrap().unwrap_err().to_string(), "crashed");
    assert!(disk.bytes(&at("a")).is_empty());
}
