//! Latencies of a span of time. No I/O.

use std::time::{Duration, Instant};

use serde::Serialize;

/// What is known of the records that were due within a span of time and were acknowledged, from when they were due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latencies {
    /// Records.
    pub records: usize,
    /// The median, in milliseconds.
    pub p50_ms: f64,
    /// What 99 of 100 took at most, in milliseconds.
    pub p99_ms: f64,
    /// The longest, in milliseconds.
    pub max_ms: f64,
}

impl Latencies {
    /// Of records with the times when they were due, those that were due from one time until before another.
    pub(super) fn of(records: &[(Instant, Duration)], from: Instant, until: Instant) -> Self {
        let within = records.iter().filter(|(due, _)| (from..until).contains(due));
        let mut latencies: Vec<Duration> = within.map(|(_, latency)| *latency).collect();
        latencies.sort_unstable();
        let at = |percent: usize| {
            // Nearest rank: the least one that so many of a hundred do not exceed.
            let rank = (latencies.len() * percent).div_ceil(100).max(1);
            latencies.get(rank - 1).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
        };
        Self { records: latencies.len(), p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_records_due_within_the_span() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut records: Vec<_> = (1..=200).map(|ms| (at(ms), Duration::from_millis(ms))).collect();
        records.reverse();
        let all = Latencies { records: 200, p50_ms: 100.0, p99_ms: 198.0, max_ms: 200.0 };
        assert_eq!(Latencies::of(&records, began, at(201)), all);
        let first = Latencies { records: 10, p50_ms: 5.0, p99_ms: 10.0, max_ms: 10.0 };
        assert_eq!(Latencies::of(&records, began, at(11)), first, "the end is not part of the span");
        assert_eq!(Latencies::of(&records, at(300), at(400)), Latencies::default());
    }
}
