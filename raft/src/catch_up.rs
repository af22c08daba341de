//! How fast a node sends old entries to replicas that lag, over all of its groups: catching up must not starve the
//! appends of now.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use crate::log_store::lock;

/// What may be sent at once after a pause, as a time at the configured rate.
const BURST: Duration = Duration::from_millis(250);
/// Bytes sent at a step, at least.
const STEP_MIN: usize = 16 << 10;

/// A rate that all clones share.
#[derive(Clone, Debug)]
pub struct CatchUp {
    /// Bytes a second; 0 for no bound.
    rate: u64,
    /// When all that was sent so far is paid for.
    paid: Arc<Mutex<Option<Instant>>>,
}

impl CatchUp {
    /// At most this many bytes a second, over all clones together; 0 for no bound.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        Self { rate: bytes_per_second, paid: Arc::default() }
    }

    /// How many bytes to send at once, at most `wanted`: so few that no step takes much longer than a quarter of a second.
    pub(crate) fn step(&self, wanted: usize) -> usize {
        match self.rate {
            0 => wanted,
            rate => usize::try_from(rate / 4).unwrap_or(usize::MAX).clamp(STEP_MIN, wanted.max(STEP_MIN)),
        }
    }

    /// Waits until these bytes may have been sent.
    pub(crate) async fn spend(&self, bytes: u64) {
        if self.rate > 0 {
            tokio::time::sleep_until(self.due(Instant::now(), bytes)).await;
        }
    }

    /// Has others wait for these bytes, which are sent at once.
    pub(crate) fn owe(&self, bytes: u64) {
        if self.rate > 0 {
            self.due(Instant::now(), bytes);
        }
    }

    /// When these bytes, which are sent now, are paid for.
    fn due(&self, now: Instant, bytes: u64) -> Instant {
        let cost = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        let mut paid = lock(&self.paid);
        // What was not used for longer than a burst is forgotten.
        let begun = paid.unwrap_or(now).max(now.checked_sub(BURST).unwrap_or(now));
        *paid.insert(begun + cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_catch_up_share_the_rate() {
        let catch_up = CatchUp::new(1 << 20);
        let now = Instant::now();
        let sends = |times: u32| (0..times).fold(now, |_, _| catch_up.clone().due(now, 64 << 10));
        sends(32);
        assert_eq!(sends(96), now + Duration::from_secs(8), "8 MiB");
    }

    #[test]
    fn after_a_pause_no_more_than_a_burst_comes_at_once() {
        let catch_up = CatchUp::new(1 << 20);
        let now = Instant::now();
        catch_up.due(now, 1 << 20);
        let later = now + Duration::from_secs(3600);
        assert_eq!(catch_up.due(later, 1 << 20), later + Duration::from_millis(750));
    }

    #[test]
    fn without_a_rate_nothing_is_divided() {
        assert_eq!(CatchUp::new(0).step(1 << 20), 1 << 20);
    }

    #[test]
    fn steps_are_short_at_a_low_rate() {
        assert_eq!(CatchUp::new(256 << 10).step(1 << 20), 64 << 10);
        assert_eq!(CatchUp::new(1).step(1 << 20), STEP_MIN);
        assert_eq!(CatchUp::new(1 << 30).step(1 << 20), 1 << 20);
    }
}
