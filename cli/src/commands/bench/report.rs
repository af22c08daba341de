//! The figures of a run. Other systems' benches can print the same fields, so that both can be run in one sitting.

use std::time::Duration;

use bytesize::ByteSize;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::error::Failure;
use crate::output::{View, fields};

/// Latencies of acknowledgements, in microseconds, to three digits.
pub(super) type Latencies = Histogram<u64>;

/// Longer than any delivery timeout.
const LATENCY_US_MAX: u64 = 48 * 60 * 60 * 1_000_000;

/// An empty histogram.
pub(super) fn latencies() -> Result<Latencies, Failure> {
    // Fixed bounds: a histogram that grows does not grow for `saturating_record`, which clamps to what it can hold.
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)
        .map_err(|error| Failure::message(format!("cannot measure latencies, {error}")))
}

/// What was measured; megabytes are 10⁶ bytes.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    system: &'static str,
    workload: &'static str,
    messages: u64,
    size_bytes: u64,
    partitions: u32,
    replicas: u32,
    seconds: f64,
    messages_per_s: f64,
    mb_per_s: f64,
    ack_ms: Option<Milliseconds>,
}

/// How latencies are spread.
#[derive(Debug, Serialize)]
pub(super) struct Milliseconds {
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Milliseconds {
    pub(super) fn of(latencies: &Latencies) -> Self {
        let quantile = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
        Self { p50: quantile(0.5), p99: quantile(0.99), p999: quantile(0.999), max: latencies.max() as f64 / 1e3 }
    }

    pub(super) fn text(&self) -> String {
        let Self { p50, p99, p999, max } = self;
        format!("p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms, max {max:.2} ms")
    }
}

/// What a run was about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workload {
    pub(super) name: &'static str,
    pub(super) messages: u64,
    /// Bytes of all values.
    pub(super) bytes: u64,
    pub(super) partitions: u32,
    pub(super) replicas: u32,
}

impl Report {
    pub(super) fn new(workload: Workload, took: Duration, latencies: Option<&Latencies>) -> Self {
        let Workload { name, messages, bytes, partitions, replicas } = workload;
        // A run shorter than the clock's step has no rate worth more than this.
        let seconds = took.as_secs_f64().max(1e-9);
        Self {
            system: "quorate",
            workload: name,
            messages,
            size_bytes: bytes.checked_div(messages).unwrap_or(0),
            partitions,
            replicas,
            seconds,
            messages_per_s: messages as f64 / seconds,
            mb_per_s: bytes as f64 / 1e6 / seconds,
            ack_ms: latencies.map(Milliseconds::of),
        }
    }

    pub(super) fn messages_per_s(&self) -> f64 {
        self.messages_per_s
    }
}

impl View for Report {
    fn text(&self) -> String {
        let workload = fields([
            ("Workload", format!("{}, {} messages of {}", self.workload, self.messages, ByteSize(self.size_bytes))),
            ("Topic", format!("{} partitions of {} replicas", self.partitions, self.replicas)),
            ("Time", format!("{:.3} s", self.seconds)),
            ("Throughput", format!("{:.0} messages/s, {:.1} MB/s", self.messages_per_s, self.mb_per_s)),
        ]);
        match &self.ack_ms {
            Some(ack_ms) => format!("{workload}\nAck         {}", ack_ms.text()),
            None => workload,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const WORKLOAD: Workload =
        Workload { name: "produce", messages: 1000, bytes: 1_024_000, partitions: 4, replicas: 3 };

    #[test]
    fn the_json_has_the_fields_that_others_print_too() {
        let mut latencies = latencies().unwrap();
        (0..1_000).for_each(|_| latencies.saturating_record(2_000));
        let report = Report::new(WORKLOAD, Duration::from_secs(2), Some(&latencies));
        assert_eq!(
            serde_json::to_value(&report).unwrap(),
            serde_json::json!({
                "system": "quorate", "workload": "produce", "messages": 1000, "size_bytes": 1024, "partitions": 4,
                "replicas": 3, "seconds": 2.0, "messages_per_s": 500.0, "mb_per_s": 0.512,
                "ack_ms": { "p50": 2.0, "p99": 2.0, "p999": 2.0, "max": 2.0 },
            })
        );
    }

    #[test]
    fn what_was_not_measured_is_null() {
        let report = Report::new(Workload { messages: 0, bytes: 0, ..WORKLOAD }, Duration::ZERO, None);
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["ack_ms"].is_null());
        assert_eq!((json["size_bytes"].as_u64(), json["mb_per_s"].as_f64()), (Some(0), Some(0.0)));
    }
}
