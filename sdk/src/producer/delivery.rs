//! The acknowledgement of one record, and of the batch it is in.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use quorate_cluster_config::PartitionIndex;

use super::error::ProduceError;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its offset.
    pub offset: u64,
    /// Whether the cluster had appended its batch by an earlier try whose answer was lost. It is in the log once.
    pub duplicate: bool,
}

/// Resolves when the record is on stable storage of a majority, or has failed.
///
/// Dropping it does not take the record back; an error nobody looked at surfaces at the producer's next `flush` or
/// `close`.
#[derive(Debug)]
#[must_use = "await it to know the record's offset, or drop it and let `flush` report errors"]
pub struct Delivery {
    batch: Arc<BatchCompletion>,
    /// The record's position in its batch.
    index: u32,
    waker_slot: Option<usize>,
    observed: bool,
}

/// The first offset of an acknowledged batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchAck {
    pub(super) base_offset: u64,
    pub(super) duplicate: bool,
}

/// The end of one batch, awaited by the deliveries of its records.
#[derive(Debug)]
pub(super) struct BatchCompletion {
    partition: PartitionIndex,
    /// Records of the batch so far.
    records: AtomicUsize,
    failures: Arc<UnobservedFailures>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Result<BatchAck, ProduceError>>,
    wakers: Vec<Option<Waker>>,
    /// Deliveries dropped before there was an outcome.
    dropped: u32,
}

/// The first error that no delivery showed to the caller.
#[derive(Debug, Default)]
pub(super) struct UnobservedFailures(Mutex<Option<ProduceError>>);

impl UnobservedFailures {
    /// The first error since the last call.
    pub(super) fn take(&self) -> Option<ProduceError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn add(&self, error: &ProduceError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
    }
}

impl BatchCompletion {
    pub(super) fn new(partition: PartitionIndex, failures: Arc<UnobservedFailures>) -> Self {
        Self { partition, records: AtomicUsize::new(0), failures, state: Mutex::default() }
    }

    /// Notes how many records the batch has.
    pub(super) fn set_records(&self, records: usize) {
        self.records.store(records, Ordering::Relaxed);
    }

    /// How many records the batch has.
    pub(super) fn records(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    /// The delivery of the record at `index`.
    pub(super) fn delivery(self: &Arc<Self>, index: u32) -> Delivery {
        Delivery { batch: Arc::clone(self), index, waker_slot: None, observed: false }
    }

    /// Ends the batch. Only the first outcome counts.
    pub(super) fn complete(&self, outcome: Result<BatchAck, ProduceError>) {
        let wakers = {
            let mut state = self.lock();
            if state.outcome.is_some() {
                return;
            }
            if let (Err(error), 1..) = (&outcome, state.dropped) {
                self.failures.add(error);
            }
            state.outcome = Some(outcome);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.lock().outcome.is_some()
    }

    /// Waits for the end, whatever it is.
    pub(super) async fn ended(&self) {
        let mut slot = None;
        std::future::poll_fn(|context| self.poll_outcome(&mut slot, context).map(|_| ())).await;
    }

    fn poll_outcome(&self, slot: &mut Option<usize>, context: &Context<'_>) -> Poll<Result<BatchAck, ProduceError>> {
        let mut state = self.lock();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        let index = *slot.get_or_insert(state.wakers.len());
        if index >= state.wakers.len() {
            state.wakers.resize(index + 1, None);
        }
        match state.wakers.get_mut(index) {
            Some(Some(waker)) => waker.clone_from(context.waker()),
            Some(empty) => *empty = Some(context.waker().clone()),
            None => {}
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, ProduceError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.batch.poll_outcome(&mut this.waker_slot, context).map(|outcome| {
            this.observed = true;
            let BatchAck { base_offset, duplicate } = outcome?;
            let offset = base_offset + u64::from(this.index);
            Ok(RecordMetadata { partition: this.batch.partition, offset, duplicate })
        })
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.observed {
            return;
        }
        let mut state = self.batch.lock();
        match &state.outcome {
            Some(Err(error)) => self.batch.failures.add(error),
            Some(Ok(_)) => {}
            None => {
                state.dropped += 1;
                if let Some(waker) = self.waker_slot.and_then(|slot| state.wakers.get_mut(slot)) {
                    *waker = None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn batch() -> (Arc<BatchCompletion>, Arc<UnobservedFailures>) {
        let failures = Arc::new(UnobservedFailures::default());
        (Arc::new(BatchCompletion::new(4, Arc::clone(&failures))), failures)
    }

    #[tokio::test]
    async fn each_record_of_a_batch_learns_its_own_offset() {
        let (batch, _) = batch();
        let deliveries = [batch.delivery(0), batch.delivery(1)];
        let waiting = tokio::spawn(futures::future::join_all(deliveries));
        tokio::task::yield_now().await;
        batch.complete(Ok(BatchAck { base_offset: 10, duplicate: false }));
        let offsets: Vec<_> = waiting.await.into_iter().flatten().flatten().map(|metadata| metadata.offset).collect();
        assert_eq!(offsets, [10, 11]);
    }

    #[test]
    fn an_error_is_kept_for_flush_only_if_nobody_saw_it() {
        let (seen, failures) = batch();
        let delivery = seen.delivery(0);
        seen.complete(Err(ProduceError::Closed));
        assert_eq!(delivery.now_or_never(), Some(Err(ProduceError::Closed)));
        assert_eq!(failures.take(), None);

        let (dropped_before, failures) = batch();
        drop(dropped_before.delivery(0));
        assert_eq!(failures.take(), None);
        dropped_before.complete(Err(ProduceError::Closed));
        assert_eq!(failures.take(), Some(ProduceError::Closed));
        assert_eq!(failures.take(), None);

        let (dropped_after, failures) = batch();
        let delivery = dropped_after.delivery(0);
        dropped_after.complete(Err(ProduceError::Closed));
        drop(delivery);
        assert_eq!(failures.take(), Some(ProduceError::Closed));
    }

    #[test]
    fn only_the_first_outcome_counts() {
        let (batch, _) = batch();
        batch.complete(Err(ProduceError::Closed));
        batch.complete(Ok(BatchAck { base_offset: 0, duplicate: false }));
        assert_eq!(batch.delivery(0).now_or_never(), Some(Err(ProduceError::Closed)));
    }
}
