//! The room on a node's disk, of which a reserve is kept for what must always be possible: votes, memberships, and the
//! trims that make room again.
//!
//! Two thresholds: below the whole reserve a leader takes no further batches; below half of it a replica takes none from
//! its leader either. So what leaders had taken in before still finds room on their followers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

#[derive(Debug)]
struct Inner {
    reserve: u64,
    available: AtomicU64,
    /// Bytes of batches taken in since the room was looked at.
    taken: AtomicU64,
}

/// What is known of the room on the disk; clones share it.
#[derive(Clone, Debug)]
pub struct DiskSpace(Arc<Inner>);

impl DiskSpace {
    /// Nothing is refused before the room was looked at, or with a reserve of 0.
    #[must_use]
    pub fn new(reserve: u64) -> Self {
        Self(Arc::new(Inner { reserve, available: AtomicU64::new(u64::MAX), taken: AtomicU64::new(0) }))
    }

    /// The bytes kept free.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        self.0.reserve
    }

    /// The bytes a process could write, as last seen, less those taken in since.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.0.available.load(Relaxed).saturating_sub(self.0.taken.load(Relaxed))
    }

    /// Notes the room that was seen just now; tells whether batches are refused from now on, if that has changed.
    pub fn saw(&self, available: u64) -> Option<bool> {
        let before = self.is_low();
        self.0.available.store(available, Relaxed);
        self.0.taken.store(0, Relaxed);
        let now = self.is_low();
        (now != before).then_some(now)
    }

    /// Counts bytes that are about to be written.
    pub fn take(&self, bytes: u64) {
        self.0.taken.fetch_add(bytes, Relaxed);
    }

    /// Whether a leader refuses batches.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.available() < self.0.reserve
    }

    /// Whether a replica refuses batches of its leader.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.available() < self.0.reserve / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_stops_before_its_followers_and_both_go_on_when_there_is_room() {
        let space = DiskSpace::new(100);
        assert!(!space.is_low());
        assert_eq!(space.saw(130), None);
        space.take(40);
        assert!(space.is_low() && !space.is_exhausted());
        assert_eq!(space.saw(49), None);
        assert!(space.is_exhausted());
        assert_eq!(space.saw(60), None);
        assert!(space.is_low() && !space.is_exhausted());
        assert_eq!(space.saw(100), Some(false));
        assert!(!space.is_low());
        assert_eq!(space.saw(99), Some(true));
    }

    #[test]
    fn without_a_reserve_nothing_is_refused() {
        let space = DiskSpace::new(0);
        space.saw(0);
        assert!(!space.is_low() && !space.is_exhausted());
    }
}
