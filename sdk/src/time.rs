//! Durations that come from callers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longer than anyone waits, and far from overflowing an `Instant`.
const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// `wait`, or a year: callers write `Duration::MAX` for *forever*, and adding that to an instant would overflow.
pub(crate) fn bounded(wait: Duration) -> Duration {
    wait.min(WAIT_MAX)
}

/// Milliseconds since 1970 by this machine's clock; negative before it.
pub(crate) fn unix_time_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}
