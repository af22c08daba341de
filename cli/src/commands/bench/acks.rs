//! Acknowledgements, measured as they come in.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use quorate::Delivery;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::report::{Latencies, latencies};
use crate::error::Failure;

/// Records sent to one partition and not yet acknowledged, at most; the buffer bounds their bytes.
const UNACKNOWLEDGED_MAX: usize = 1 << 16;

/// A record on its way, and the instant its latency counts from.
type Sent = (Delivery, Instant);

/// Where a producer notes what it has sent, a place for each of its partitions: acknowledgements come in order within
/// a partition only, and one partition's must not wait for another's.
pub(super) struct Outbox {
    partitions: Vec<mpsc::Sender<Sent>>,
}

/// The other end: what still awaits its acknowledgement.
pub(super) struct Acks {
    partitions: Vec<mpsc::Receiver<Sent>>,
    /// Records due before it are not measured.
    from: Instant,
}

/// What was acknowledged.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) latencies: Latencies,
    /// When the last acknowledgement came.
    pub(super) last: Option<Instant>,
}

/// Both ends for that many partitions.
pub(super) fn acks(partitions: usize, from: Instant) -> (Outbox, Acks) {
    let (senders, receivers) = (0..partitions).map(|_| mpsc::channel(UNACKNOWLEDGED_MAX)).unzip();
    (Outbox { partitions: senders }, Acks { partitions: receivers, from })
}

impl Outbox {
    /// Notes a record sent to the partition in that place. False if nobody measures any more: the other end has met a
    /// failure and tells of it.
    pub(super) async fn note(&self, place: usize, delivery: Delivery, due: Instant) -> bool {
        match self.partitions.get(place) {
            Some(partition) => partition.send((delivery, due)).await.is_ok(),
            None => false,
        }
    }
}

impl Acks {
    /// Measures until the outbox is dropped and everything is acknowledged.
    pub(super) async fn measure(self) -> Result<Measured, Failure> {
        let from = self.from;
        let partitions = try_join_all(self.partitions.into_iter().map(|sent| measure(sent, from))).await?;
        Measured::sum(partitions)
    }
}

async fn measure(mut sent: mpsc::Receiver<Sent>, from: Instant) -> Result<Measured, Failure> {
    let mut measured = Measured::nothing()?;
    while let Some((delivery, due)) = sent.recv().await {
        delivery.await?;
        if due >= from {
            measured.note(due, Instant::now());
        }
    }
    Ok(measured)
}

impl Measured {
    pub(super) fn nothing() -> Result<Self, Failure> {
        Ok(Self { latencies: latencies()?, last: None })
    }

    /// Notes the acknowledgement of a record that was due then.
    pub(super) fn note(&mut self, due: Instant, acknowledged: Instant) {
        let latency = acknowledged.saturating_duration_since(due).as_micros();
        self.latencies.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
        self.last = Some(acknowledged);
    }

    /// From an instant to the last acknowledgement.
    pub(super) fn took(&self, from: Instant) -> Duration {
        self.last.map_or(Duration::ZERO, |last| last.saturating_duration_since(from))
    }

    /// What several tasks have measured. Dropping it, by a failure or by Ctrl-C, ends them all.
    pub(super) async fn gather(mut tasks: JoinSet<Result<Self, Failure>>) -> Result<Self, Failure> {
        let mut all = Self::nothing()?;
        while let Some(ended) = tasks.join_next().await {
            let measured = ended.map_err(|error| Failure::message(format!("a producer stopped, {error}")))??;
            all.add(measured)?;
        }
        Ok(all)
    }

    pub(super) fn sum(parts: Vec<Self>) -> Result<Self, Failure> {
        let mut parts = parts.into_iter();
        let mut all = parts.next().map_or_else(Self::nothing, Ok)?;
        parts.try_for_each(|part| all.add(part))?;
        Ok(all)
    }

    fn add(&mut self, other: Self) -> Result<(), Failure> {
        self.latencies
            .add(other.latencies)
            .map_err(|error| Failure::message(format!("cannot add up latencies, {error}")))?;
        self.last = self.last.max(other.last);
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_latency_counts_from_when_the_record_was_due() {
        let due = Instant::now();
        let mut measured = Measured::nothing().unwrap();
        measured.note(due, due + Duration::from_millis(7));
        measured.note(due + Duration::from_millis(9), due + Duration::from_millis(8));
        assert_eq!(measured.latencies.max(), 7_003, "to three digits");
        assert_eq!((measured.latencies.len(), measured.latencies.min()), (2, 0));
        assert_eq!(measured.took(due), Duration::from_millis(8));
    }

    #[test]
    fn parts_add_up() {
        let due = Instant::now();
        let part = |milliseconds| {
            let mut part = Measured::nothing().unwrap();
            part.note(due, due + Duration::from_millis(milliseconds));
            part
        };
        let all = Measured::sum(vec![part(2), part(5), part(3)]).unwrap();
        assert_eq!((all.latencies.len(), all.took(due)), (3, Duration::from_millis(5)));
        assert_eq!(Measured::sum(Vec::new()).unwrap().took(due), Duration::ZERO);
    }
}
