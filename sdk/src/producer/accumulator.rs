//! The records of one partition that wait to be sent.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use quorate_cluster_config::PartitionIndex;
use quorate_record::{BatchBuilder, Compression, Record};
use tokio::sync::Notify;

use super::{
    delivery::{BatchCompletion, Delivery, UnobservedFailures},
    error::ProduceError,
};

/// Settings of the batches of one partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batching {
    pub(super) batch_bytes: usize,
    pub(super) linger: Duration,
    pub(super) compression: Compression,
}

/// A batch that is not sent yet.
#[derive(Debug)]
pub(super) struct OpenBatch {
    pub(super) builder: BatchBuilder,
    /// Bytes of the producer's buffer its records hold.
    pub(super) reserved: usize,
    pub(super) opened_at: Instant,
    pub(super) completion: Arc<BatchCompletion>,
    /// The only end offset of the partition at which it may be appended.
    pub(super) expected_end_offset: Option<u64>,
}

/// Whether a record was taken.
#[derive(Debug)]
pub(super) enum Pushed {
    Taken(Delivery),
    /// The open batch has no room for it, or there is none; only for [`Room::InOpenBatch`].
    NoRoom,
}

/// Where a record may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Into the open batch, or a new one.
    Any,
    /// Into the open batch only.
    InOpenBatch,
}

/// Takes records from senders and hands batches to the partition's task. Its memory is bounded by the producer's
/// buffer, in which every sender reserves room first.
#[derive(Debug)]
pub(super) struct Accumulator {
    partition: PartitionIndex,
    batching: Batching,
    failures: Arc<UnobservedFailures>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Full or flushed, in order.
    ready: VecDeque<OpenBatch>,
    open: Option<OpenBatch>,
    /// The completions of all batches that have not ended, sent or not, oldest first.
    unfinished: VecDeque<Arc<BatchCompletion>>,
    closed: bool,
}

impl Accumulator {
    pub(super) fn new(partition: PartitionIndex, batching: Batching, failures: Arc<UnobservedFailures>) -> Self {
        Self { partition, batching, failures, state: Mutex::default(), changed: Notify::new() }
    }

    /// Adds a record for which `reserved` bytes of the producer's buffer are held.
    pub(super) fn push(&self, record: &Record, reserved: usize, room: Room) -> Result<Pushed, ProduceError> {
        let mut state = self.lock();
        if state.closed {
            return Err(ProduceError::Closed);
        }
        let fits = state.open.as_ref().map(|open| open.builder.size_after(record) <= self.batching.batch_bytes);
        match (fits, room) {
            (Some(true), _) | (None, Room::Any) => {}
            (Some(false), _) => {
                let full = state.open.take();
                state.ready.extend(full);
                self.changed.notify_one();
                if room == Room::InOpenBatch {
                    return Ok(Pushed::NoRoom);
                }
            }
            (None, Room::InOpenBatch) => return Ok(Pushed::NoRoom),
        }
        let mut open = match state.open.take() {
            Some(open) => open,
            None => {
                // The task's timer must learn of the new batch.
                self.changed.notify_one();
                self.new_batch(&mut state, BatchBuilder::new(self.batching.compression))
            }
        };
        // A batch has at most as many records as bytes, and its bytes fit 32 bits.
        let delivery = open.completion.delivery(open.builder.len() as u32);
        open.builder.push(record);
        open.completion.set_records(open.builder.len());
        open.reserved += reserved;
        if open.builder.estimated_size() >= self.batching.batch_bytes {
            state.ready.push_back(open);
            self.changed.notify_one();
        } else {
            state.open = Some(open);
        }
        Ok(Pushed::Taken(delivery))
    }

    /// Adds a whole batch behind all that is there, to be appended only where the partition then ends at
    /// `expected_end_offset`. Returns the delivery of its first record.
    pub(super) fn push_conditional(
        &self,
        builder: BatchBuilder,
        reserved: usize,
        expected_end_offset: u64,
    ) -> Result<Delivery, ProduceError> {
        let mut state = self.lock();
        if state.closed {
            return Err(ProduceError::Closed);
        }
        let open = state.open.take();
        state.ready.extend(open);
        let mut batch = self.new_batch(&mut state, builder);
        batch.completion.set_records(batch.builder.len());
        batch.reserved = reserved;
        batch.expected_end_offset = Some(expected_end_offset);
        let delivery = batch.completion.delivery(0);
        state.ready.push_back(batch);
        self.changed.notify_one();
        Ok(delivery)
    }

    fn new_batch(&self, state: &mut State, builder: BatchBuilder) -> OpenBatch {
        let completion = Arc::new(BatchCompletion::new(self.partition, Arc::clone(&self.failures)));
        state.unfinished.push_back(Arc::clone(&completion));
        OpenBatch { builder, reserved: 0, opened_at: Instant::now(), completion, expected_end_offset: None }
    }

    /// Puts batches back that were taken, before all that are there.
    pub(super) fn put_back(&self, batches: Vec<OpenBatch>) {
        let mut state = self.lock();
        for batch in batches.into_iter().rev() {
            state.ready.push_front(batch);
        }
        self.changed.notify_one();
    }

    /// Whether the batch that [`take_due`](Self::take_due) returns next is a conditional one.
    pub(super) fn next_is_conditional(&self) -> bool {
        self.lock().ready.front().is_some_and(|batch| batch.expected_end_offset.is_some())
    }

    /// The next batch that is full, flushed or has lingered long enough.
    pub(super) fn take_due(&self, now: Instant) -> Option<OpenBatch> {
        let mut state = self.lock();
        if let Some(ready) = state.ready.pop_front() {
            return Some(ready);
        }
        let closed = state.closed;
        state.open.take_if(|open| closed || now >= open.opened_at + self.batching.linger)
    }

    /// When [`take_due`](Self::take_due) will return a batch.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let state = self.lock();
        match (state.ready.front(), &state.open) {
            (Some(ready), _) => Some(ready.opened_at),
            (None, Some(open)) if state.closed => Some(open.opened_at),
            (None, Some(open)) => Some(open.opened_at + self.batching.linger),
            (None, None) => None,
        }
    }

    /// When the oldest batch was opened.
    pub(super) fn oldest_opened_at(&self) -> Option<Instant> {
        let state = self.lock();
        state.ready.front().or(state.open.as_ref()).map(|batch| batch.opened_at)
    }

    /// Takes the batches opened at or before `limit`.
    pub(super) fn take_opened_until(&self, limit: Instant) -> Vec<OpenBatch> {
        let mut state = self.lock();
        let count = state.ready.iter().take_while(|batch| batch.opened_at <= limit).count();
        let mut taken: Vec<_> = state.ready.drain(..count).collect();
        if state.ready.is_empty() {
            taken.extend(state.open.take_if(|open| open.opened_at <= limit));
        }
        taken
    }

    /// Makes the open batch due, and returns the completions of everything that has not ended.
    pub(super) fn flush(&self) -> Vec<Arc<BatchCompletion>> {
        let mut state = self.lock();
        let open = state.open.take();
        state.ready.extend(open);
        self.changed.notify_one();
        state.unfinished.iter().cloned().collect()
    }

    /// Takes no more records; what is there becomes due.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Whether nothing more will come out of it.
    pub(super) fn is_drained(&self) -> bool {
        let state = self.lock();
        state.closed && state.ready.is_empty() && state.open.is_none()
    }

    /// Forgets the completions that have ended.
    pub(super) fn forget_finished(&self) {
        self.lock().unfinished.retain(|completion| !completion.is_complete());
    }

    /// The completions of everything that has not ended.
    pub(super) fn unfinished(&self) -> Vec<Arc<BatchCompletion>> {
        self.lock().unfinished.iter().filter(|completion| !completion.is_complete()).cloned().collect()
    }

    /// Returns after a batch was opened or became due, or the accumulator was closed, since the last return.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn accumulator(batch_bytes: usize, linger: Duration) -> Accumulator {
        let batching = Batching { batch_bytes, linger, compression: Compression::None };
        Accumulator::new(0, batching, Arc::default())
    }

    fn push(accumulator: &Accumulator, bytes: usize) {
        let record = Record::new(vec![0; bytes], 0);
        assert!(matches!(accumulator.push(&record, bytes, Room::Any).unwrap(), Pushed::Taken(_)));
    }

    #[test]
    fn a_batch_lingers_from_its_first_record_on() {
        let accumulator = accumulator(1000, Duration::from_secs(60));
        push(&accumulator, 10);
        let due = accumulator.next_due().unwrap();
        push(&accumulator, 10);
        assert_eq!(accumulator.next_due(), Some(due));
        assert!(accumulator.take_due(due - Duration::from_millis(1)).is_none());
        assert_eq!(accumulator.take_due(due).unwrap().builder.len(), 2);
    }

    #[test]
    fn a_full_batch_is_due_at_once_and_none_exceeds_the_size() {
        let accumulator = accumulator(300, Duration::from_secs(60));
        for _ in 0..4 {
            push(&accumulator, 100);
        }
        let now = Instant::now();
        let first = accumulator.take_due(now).unwrap();
        assert_eq!((first.builder.len(), first.reserved), (2, 200));
        assert!(first.builder.estimated_size() <= 300);
        assert!(accumulator.take_due(now).is_none());
    }

    #[test]
    fn a_record_larger_than_a_batch_goes_alone() {
        let accumulator = accumulator(300, Duration::from_secs(60));
        push(&accumulator, 1000);
        assert_eq!(accumulator.take_due(Instant::now()).unwrap().builder.len(), 1);
    }

    #[test]
    fn a_sticky_record_never_opens_a_batch() {
        let accumulator = accumulator(300, Duration::from_secs(60));
        let sticky = |bytes| accumulator.push(&Record::new(vec![0; bytes], 0), bytes, Room::InOpenBatch).unwrap();
        assert!(matches!(sticky(10), Pushed::NoRoom));
        push(&accumulator, 10);
        assert!(matches!(sticky(10), Pushed::Taken(_)));
        assert!(matches!(sticky(250), Pushed::NoRoom));
        assert_eq!(accumulator.take_due(Instant::now()).unwrap().builder.len(), 2, "a full batch must not linger");
    }

    #[test]
    fn a_conditional_batch_is_due_at_once_behind_all_that_was_there() {
        let accumulator = accumulator(1000, Duration::from_secs(60));
        push(&accumulator, 10);
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(&Record::new("conditional", 0));
        drop(accumulator.push_conditional(builder, 20, 1).unwrap());
        push(&accumulator, 30);
        assert!(!accumulator.next_is_conditional());
        assert_eq!(accumulator.take_due(Instant::now()).unwrap().expected_end_offset, None);
        assert!(accumulator.next_is_conditional());
        let conditional = accumulator.take_due(Instant::now()).unwrap();
        assert_eq!((conditional.expected_end_offset, conditional.reserved), (Some(1), 20));
        assert!(accumulator.take_due(Instant::now()).is_none(), "what came later goes on to linger");
        accumulator.flush();
        accumulator.put_back(vec![conditional]);
        assert!(accumulator.next_is_conditional());
    }

    #[test]
    fn flushing_and_closing_make_everything_due() {
        let accumulator = accumulator(1000, Duration::from_secs(60));
        push(&accumulator, 10);
        assert_eq!(accumulator.flush().len(), 1);
        assert!(accumulator.take_due(Instant::now()).is_some());
        push(&accumulator, 10);
        accumulator.close();
        assert!(!accumulator.is_drained());
        assert!(accumulator.take_due(Instant::now()).is_some());
        assert!(accumulator.is_drained());
        assert!(accumulator.push(&Record::default(), 0, Room::Any).is_err());
        assert_eq!(accumulator.unfinished().len(), 2, "sent but not yet acknowledged");
    }

    #[test]
    fn only_batches_opened_by_then_expire() {
        let accumulator = accumulator(100, Duration::ZERO);
        push(&accumulator, 90);
        let between = Instant::now();
        std::thread::sleep(Duration::from_millis(2));
        push(&accumulator, 10);
        assert_eq!(accumulator.take_opened_until(between).len(), 1);
        assert!(accumulator.next_due().is_some());
    }
}
