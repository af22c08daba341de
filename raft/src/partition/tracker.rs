//! The partition's state at the end of the log, and the outcomes that wait to be applied.

use std::collections::VecDeque;

use quorate_log_engine::{Frame, FrameKind, RecoveredEntry, Stamp};
use quorate_record::BatchHeader;

use super::state::{Append, Outcome, PartitionState, Undo};

#[derive(Debug)]
struct Unapplied {
    index: u64,
    /// `None` for an entry that is not a batch.
    decided: Option<(Outcome, Undo)>,
}

/// Decides each entry when it is appended, and keeps outcome and undo record until it is applied or truncated.
///
/// Invariant: `unapplied` is dense in log index and ends with the log.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    state: PartitionState,
    unapplied: VecDeque<Unapplied>,
}

impl Tracker {
    /// Begins with the state before the next entry; all before it are applied.
    pub(crate) fn new(state: PartitionState) -> Self {
        Self { state, unapplied: VecDeque::new() }
    }

    pub(crate) fn state(&self) -> &PartitionState {
        &self.state
    }

    /// Decides a new entry and stamps its frame.
    pub(crate) fn append(&mut self, frame: &mut Frame) -> Result<(), String> {
        let mut decided = None;
        if frame.kind == FrameKind::Batch {
            let batch = BatchHeader::parse(&frame.payload).map_err(|error| error.to_string())?;
            let append = Append { index: frame.index, batch: &batch, expected_end_offset: frame.expected_end_offset };
            let (outcome, undo) = self.state.advance(&append);
            if let Outcome::Appended { base_offset } = outcome {
                // Kafka's field is 32 bits wide; the frame header holds the whole term.
                let leader_epoch = i32::try_from(frame.term).unwrap_or(i32::MAX);
                frame.stamp = Some(Stamp { base_offset, leader_epoch });
            }
            decided = Some((outcome, undo));
        }
        frame.next_offset = self.state.end_offset();
        self.push(frame.index, decided);
        Ok(())
    }

    /// Decides an entry again that the log already holds, and checks that the log says the same.
    pub(crate) fn recover(&mut self, entry: &RecoveredEntry<'_>, applied_through: Option<u64>) -> Result<(), String> {
        let index = entry.header.index;
        let mut decided = None;
        if let Some(batch) = entry.batch {
            let expected_end_offset = entry.header.expected_end_offset;
            let (outcome, undo) = self.state.advance(&Append { index, batch, expected_end_offset });
            let stored = (!entry.header.rejected).then(|| batch.base_offset.cast_unsigned());
            let decides = match outcome {
                Outcome::Appended { base_offset } => Some(base_offset),
                _ => None,
            };
            if stored != decides {
                return Err(format!("log index {index} is stored as {stored:?}, but its prefix decides {outcome:?}"));
            }
            decided = Some((outcome, undo));
        }
        if applied_through.is_none_or(|applied| index > applied) {
            self.push(index, decided);
        }
        Ok(())
    }

    /// The state before the entry of this log index, which is not applied, or is the next one to come.
    pub(crate) fn state_before(&self, index: u64) -> PartitionState {
        let applied = self.unapplied.front().is_some_and(|first| first.index > index);
        assert!(!applied, "an entry that is applied cannot be undone");
        let mut state = self.state.clone();
        let later = self.unapplied.iter().rev().take_while(|entry| entry.index >= index);
        later.filter_map(|entry| entry.decided).for_each(|(_, undo)| state.undo(undo));
        state
    }

    /// Takes back all entries from this log index on.
    pub(crate) fn truncate_from(&mut self, index: u64) {
        while let Some(last) = self.unapplied.pop_back_if(|last| last.index >= index) {
            if let Some((_, undo)) = last.decided {
                self.state.undo(undo);
            }
        }
    }

    /// The outcome of the next entry to be applied; `None` if that is not a batch.
    pub(crate) fn apply(&mut self, index: u64) -> Option<Outcome> {
        let next = self.unapplied.pop_front();
        assert_eq!(next.as_ref().map(|next| next.index), Some(index), "entries are applied in order, once");
        next.and_then(|next| next.decided).map(|(outcome, _)| outcome)
    }

    fn push(&mut self, index: u64, decided: Option<(Outcome, Undo)>) {
        assert!(self.unapplied.back().is_none_or(|last| last.index + 1 == index), "entries are dense in log index");
        self.unapplied.push_back(Unapplied { index, decided });
    }
}

#[cfg(test)]
mod tests;
