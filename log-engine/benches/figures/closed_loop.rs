//! Producers that have so many batches in flight each, and append the next when one is acknowledged.
//!
//! One thread plays them all: on a machine of few cores a thread for each would measure the scheduler.

use std::{
    sync::mpsc::channel,
    time::{Duration, Instant},
};

use super::{support::Producer, table::microseconds};

/// What was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    pub(crate) count: usize,
    /// Bytes of batches.
    pub(crate) bytes: u64,
    /// From the first append to the last acknowledgement.
    pub(crate) elapsed: Duration,
    /// Of each append in microseconds, by producer.
    pub(crate) latencies: Vec<Vec<f64>>,
}

impl Acknowledged {
    pub(crate) fn mib_per_second(&self) -> f64 {
        self.bytes as f64 / f64::from(1 << 20) / self.elapsed.as_secs_f64()
    }
}

/// Appends as long as `go_on` says, which is told the number of batches acknowledged by then; waits for the rest.
pub(crate) fn closed_loop(
    producers: &mut [Producer],
    in_flight: usize,
    go_on: impl Fn(usize, Duration) -> bool,
) -> Acknowledged {
    let (sender, acknowledgements) = channel();
    let append = |at: usize, producer: &mut Producer| {
        let (sender, asked) = (sender.clone(), Instant::now());
        producer.append(1, Box::new(move |result| drop(sender.send((at, asked.elapsed(), result)))));
    };
    let start = Instant::now();
    let mut outcome = Acknowledged { latencies: vec![Vec::new(); producers.len()], ..Acknowledged::default() };
    for (at, producer) in producers.iter_mut().enumerate() {
        (0..in_flight).for_each(|_| append(at, producer));
    }
    let mut open = producers.len() * in_flight;
    while open > 0 {
        let (at, latency, result) = acknowledgements.recv().unwrap();
        result.unwrap();
        outcome.count += 1;
        outcome.bytes += producers[at].batch.len() as u64;
        outcome.latencies[at].push(microseconds(latency));
        if go_on(outcome.count, start.elapsed()) { append(at, &mut producers[at]) } else { open -= 1 }
    }
    outcome.elapsed = start.elapsed();
    outcome
}
