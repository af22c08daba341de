//! Group commit: what queues up during one sync shares the next.

use crate::support::{Fixture, command, wait};

#[test]
fn sixty_four_appends_queued_during_one_sync_share_the_next() {
    let fixture = Fixture::new(1 << 20);
    fixture.disk.close_syncs();
    let first = fixture.append_later(vec![command(1, 0, 0, "first")]);
    fixture.disk.wait_for_sync();
    let before = fixture.engine.stats().writers;
    let queued: Vec<_> = (1..=64).map(|index| fixture.append_later(vec![command(1, index, 0, "queued")])).collect();
    assert!(queued.iter().chain([&first]).all(|done| done.try_recv().is_err()), "nothing is acknowledged unsynced");
    assert_eq!(fixture.log().durable_through(), None);
    fixture.disk.open_gates();
    queued.iter().chain([&first]).for_each(|done| wait(done).unwrap());
    let after = fixture.engine.stats().writers;
    assert_eq!((after.syncs - before.syncs, after.requests - before.requests), (1, 64));
    assert_eq!(fixture.log().durable_through(), Some(64));
}
