//! Building a partition's state while its log is opened.

use std::sync::Arc;

use quorate_log_engine::RecoveredEntry;

use super::{PartitionMachine, PartitionState, Tracker, machine::Committed};
use crate::types::LogId;

/// What is known of a partition after the entries met so far.
#[derive(Debug, Default)]
pub(crate) struct PartitionRecovery {
    tracker: Tracker,
    high_watermark: u64,
    log_start_offset: u64,
}

impl PartitionRecovery {
    /// Begins with the state of a checkpoint. All before it is committed: no other checkpoint is used.
    pub(crate) fn restore(&mut self, state: PartitionState) {
        (self.high_watermark, self.log_start_offset) = (state.end_offset(), state.log_start_offset());
        self.tracker = Tracker::new(state);
    }

    /// Takes the next entry in; says what it contradicts.
    pub(crate) fn entry(&mut self, entry: &RecoveredEntry<'_>, committed: Option<u64>) -> Result<(), String> {
        self.tracker.recover(entry, committed)?;
        if committed.is_some_and(|committed| entry.header.index <= committed) {
            let state = self.tracker.state();
            (self.high_watermark, self.log_start_offset) = (state.end_offset(), state.log_start_offset());
        }
        Ok(())
    }

    /// The offset the next record will get.
    pub(crate) fn end_offset(&self) -> u64 {
        self.tracker.state().end_offset()
    }

    /// The first retained offset, as far as is known to be committed.
    pub(crate) fn log_start_offset(&self) -> u64 {
        self.log_start_offset
    }

    /// The machine of a log that is known to be committed through this log id.
    pub(crate) fn into_machine(self, committed: Option<LogId>) -> Arc<PartitionMachine> {
        let end_index = committed.map_or(0, |id| id.index + 1);
        let Self { tracker, high_watermark, log_start_offset } = self;
        PartitionMachine::new(tracker, Committed { end_index, high_watermark, log_start_offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{partition::ProducerTable, types::log_id};

    #[test]
    fn a_checkpoint_right_behind_the_commit_says_how_far_readers_may_read() {
        let mut recovery = PartitionRecovery::default();
        recovery.restore(PartitionState::new(7, 3, ProducerTable::default()));
        assert_eq!(recovery.end_offset(), 7);
        let machine = recovery.into_machine(Some(log_id(2, 4)));
        assert_eq!(*machine.committed().borrow(), Committed { end_index: 5, high_watermark: 7, log_start_offset: 3 });
    }
}
