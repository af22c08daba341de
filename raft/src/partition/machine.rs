//! Applying a partition's committed entries: the outcome was decided at append; apply makes it visible.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Outcome, PartitionState, Tracker};
use crate::types::{Applied, Entry};
use openraft::EntryPayload;
use quorate_record::BatchHeader;

/// What log store, state machine and readers of a partition share.
#[derive(Debug)]
pub(crate) struct PartitionMachine {
    tracker: Mutex<Tracker>,
    committed: watch::Sender<Committed>,
}

/// How far a partition is committed, as this replica knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Committed {
    /// One past the last applied log index.
    pub(crate) end_index: u64,
    /// The first offset not yet committed.
    pub(crate) high_watermark: u64,
    /// The first retained offset.
    pub(crate) log_start_offset: u64,
}

impl Committed {
    /// What is known after the entry of this log index, which leaves the partition in this state.
    fn after(index: u64, state: &PartitionState) -> Self {
        Self { end_index: index + 1, high_watermark: state.end_offset(), log_start_offset: state.log_start_offset() }
    }
}

impl PartitionMachine {
    pub(crate) fn new(tracker: Tracker, committed: Committed) -> Arc<Self> {
        Arc::new(Self { tracker: Mutex::new(tracker), committed: watch::Sender::new(committed) })
    }

    pub(crate) fn tracker(&self) -> MutexGuard<'_, Tracker> {
        // A panic under the lock is a broken invariant, and the group is on its way down.
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn committed(&self) -> watch::Receiver<Committed> {
        self.committed.subscribe()
    }

    pub(crate) fn apply(&self, entry: &Entry) -> Applied {
        let index = entry.log_id.index;
        let outcome = self.tracker().apply(index);
        self.committed.send_modify(|committed| {
            committed.end_index = index + 1;
            match (outcome, &entry.payload) {
                (Some(Outcome::Appended { base_offset }), EntryPayload::Normal(proposal)) => {
                    assert_eq!(base_offset, committed.high_watermark, "append and apply agree on every offset");
                    let records = BatchHeader::parse(&proposal.payload).map_or(0, |batch| batch.record_count);
                    committed.high_watermark += u64::from(records.unsigned_abs());
                }
                (Some(Outcome::Trimmed { log_start_offset }), _) => committed.log_start_offset = log_start_offset,
                _ => {}
            }
        });
        outcome.map_or(Applied::Nothing, Applied::Partition)
    }

    /// All up to this log index is committed, as a snapshot says that ends there, and the log holds it.
    pub(crate) fn skip_through(&self, index: u64, at: &PartitionState) {
        self.tracker().skip_through(index);
        self.committed.send_replace(Committed::after(index, at));
    }

    /// Goes on from a snapshot that ends at this log index, while the log is made to begin behind it.
    pub(crate) fn restart(&self, index: u64, at: &PartitionState, restart_log: impl FnOnce()) {
        let mut tracker = self.tracker();
        restart_log();
        *tracker = Tracker::new(at.clone());
        self.committed.send_replace(Committed::after(index, at));
    }
}
