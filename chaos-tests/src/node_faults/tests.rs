use std::{
    io::IoSlice,
    time::{Duration, Instant},
};

use quorate_log_engine::Vfs;

use super::*;
use crate::power_loss::{HOLD_SYNC, PowerLossVfs};

/// Looks until the faults are as they should be.
fn until(watched: &Watched, faults: NodeFaults) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while watched.now() != faults {
        assert!(Instant::now() < deadline, "still {:?}", watched.now());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn faults_come_and_go_with_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let watched = Watched::start(directory.path().join(FAULTS));
    let disk = PowerLossVfs::torn(directory.path().join(HOLD_SYNC), Arc::clone(&watched), 1);
    let vfs = FaultyVfs::new(Arc::new(disk), Arc::clone(&watched));
    let file = vfs.create(&directory.path().join("log")).unwrap();
    let write = || file.write_all_at(&[IoSlice::new(b"abc")], 0);
    let read = || file.read_at(&mut [0; 3], 0);
    let install = |faults: NodeFaults| {
        faults.install(directory.path()).unwrap();
        until(&watched, faults);
    };
    write().unwrap();
    assert_eq!((read().unwrap(), file.sync_data().is_ok()), (3, true));

    install(NodeFaults { syncs_fail: true, ..NodeFaults::default() });
    assert!(file.sync_data().is_err() && write().is_ok() && read().is_ok());
    install(NodeFaults { writes_fail: true, ..NodeFaults::default() });
    assert!(file.sync_data().is_ok() && write().is_err() && read().is_ok());
    install(NodeFaults { reads_fail: true, full: true, ..NodeFaults::default() });
    assert!(file.sync_data().is_ok() && write().is_ok() && read().is_err());
    assert_eq!(vfs.available_bytes(directory.path()).unwrap(), 0);
    install(NodeFaults { clock_offset_ms: -3_600_000, sync_delay_ms: 50, ..NodeFaults::default() });
    let behind = SystemClock.now_ms() - FaultyClock(Arc::clone(&watched)).now_ms();
    assert!((3_590_000..3_610_000).contains(&behind), "{behind}");
    let began = Instant::now();
    file.sync_data().unwrap();
    assert!(began.elapsed() >= Duration::from_millis(50));

    fs::remove_file(directory.path().join(FAULTS)).unwrap();
    until(&watched, NodeFaults::default());
    assert!(file.sync_data().is_ok() && write().is_ok() && read().is_ok());
    // What cannot be understood is no fault.
    fs::write(directory.path().join(FAULTS), "nonsense").unwrap();
    assert_eq!(watched.now(), NodeFaults::default());
}

#[test]
fn of_two_faults_the_worse_holds() {
    let slow = NodeFaults { sync_delay_ms: 50, clock_offset_ms: 5_000, ..NodeFaults::default() };
    let both = slow.and(NodeFaults { sync_delay_ms: 20, full: true, ..slow });
    assert_eq!(both, NodeFaults { sync_delay_ms: 50, full: true, clock_offset_ms: 10_000, ..NodeFaults::default() });
    assert_eq!(both.to_string(), "syncs take 50 ms longer, no room, the clock is 10 s ahead");
}
