//! Counts acknowledgements while records are still being sent. Bounded: a sender far ahead of the cluster waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use quorate::{Delivery, ProduceError};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::meter::Counts;
use crate::error::Failure;

/// Records sent and not yet acknowledged, at most; the SDK's buffer bounds their bytes.
const UNACKNOWLEDGED_MAX: usize = 1 << 16;

/// Where sent records are announced.
#[derive(Debug)]
pub(super) struct Sender {
    deliveries: mpsc::Sender<(Delivery, u64)>,
}

/// The acknowledgements.
#[derive(Debug)]
pub(super) struct Acknowledged {
    failed: Arc<Notify>,
    counts: Arc<Counts>,
    counting: JoinHandle<Summary>,
}

/// What became of the records.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Acknowledged records.
    pub(super) records: u64,
    /// Bytes of their keys and values.
    pub(super) bytes: u64,
    /// The last acknowledged offset of each partition.
    pub(super) last_offsets: BTreeMap<u32, u64>,
    /// The first failure.
    pub(super) failure: Option<ProduceError>,
}

/// Begins to count.
pub(super) fn start() -> (Sender, Acknowledged) {
    let (deliveries, receiver) = mpsc::channel(UNACKNOWLEDGED_MAX);
    let failed = Arc::new(Notify::new());
    let counts: Arc<Counts> = Arc::default();
    let counting = tokio::spawn(count(receiver, Arc::clone(&failed), Arc::clone(&counts)));
    (Sender { deliveries }, Acknowledged { failed, counts, counting })
}

async fn count(mut deliveries: mpsc::Receiver<(Delivery, u64)>, failed: Arc<Notify>, counts: Arc<Counts>) -> Summary {
    let mut summary = Summary::default();
    while let Some((delivery, bytes)) = deliveries.recv().await {
        match delivery.await {
            Ok(metadata) => {
                summary.records += 1;
                summary.bytes += bytes;
                counts.records.fetch_add(1, Relaxed);
                counts.bytes.fetch_add(bytes, Relaxed);
                let last = summary.last_offsets.entry(metadata.partition).or_default();
                *last = metadata.offset.max(*last);
            }
            Err(error) => {
                summary.failure.get_or_insert(error);
                failed.notify_one();
            }
        }
    }
    summary
}

impl Sender {
    /// Counts a record once it is acknowledged.
    pub(super) async fn track(&mut self, delivery: Delivery, bytes: u64) {
        // The counting ends only after the last sender is gone.
        let _ = self.deliveries.send((delivery, bytes)).await;
    }
}

impl Acknowledged {
    /// What is acknowledged so far.
    pub(super) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Resolves once a record has failed.
    pub(super) async fn failed(&self) {
        self.failed.notified().await;
    }

    /// The outcome of all records. The sender must be gone, or this waits for more.
    pub(super) async fn summary(self) -> Result<Summary, Failure> {
        self.counting
            .await
            .map_err(|error| Failure::message(format!("the count of acknowledgements was lost, {error}")))
    }
}
