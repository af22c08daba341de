//! Applying a partition's committed entries: the outcome was decided at append; apply makes it visible.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Outcome, Tracker};
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
            if let (Some(Outcome::Appended { base_offset }), EntryPayload::Normal(proposal)) = (outcome, &entry.payload)
            {
                assert_eq!(base_offset, committed.high_watermark, "append and apply agree on every offset");
                let records = BatchHeader::parse(&proposal.payload).map_or(0, |batch| batch.record_count);
                committed.high_watermark += u64::from(records.unsigned_abs());
            }
        });
        outcome.map_or(Applied::Nothing, Applied::Append)
    }
}
