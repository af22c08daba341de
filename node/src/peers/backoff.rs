//! How long after a failure a peer is left alone.

use std::time::Duration;

use tokio::time::Instant;

/// After the first failure, and at most; it doubles in between.
const FIRST: Duration = Duration::from_millis(50);
const MAX: Duration = Duration::from_secs(1);

/// The failures in a row to reach one peer.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// Whether the peer is to be left alone still.
    pub(super) fn waits(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.until = Some(now + (FIRST * 2_u32.saturating_pow(self.failures.min(16))).min(MAX));
        self.failures += 1;
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_begin_anew_after_a_success() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        assert!(!backoff.waits(now));
        for pause in [50, 100, 200, 400, 800, 1000, 1000].map(Duration::from_millis) {
            backoff.failed(now);
            assert!(backoff.waits(now + pause - Duration::from_millis(1)));
            assert!(!backoff.waits(now + pause));
        }
        backoff.succeeded();
        backoff.failed(now);
        assert!(!backoff.waits(now + FIRST));
    }
}
