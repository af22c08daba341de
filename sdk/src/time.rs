//! Durations that come from callers.

use std::time::Duration;

/// Longer than anyone waits, and far from overflowing an `Instant`.
const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// `wait`, or a year: callers write `Duration::MAX` for *forever*, and adding that to an instant would overflow.
pub(crate) fn bounded(wait: Duration) -> Duration {
    wait.min(WAIT_MAX)
}
