//! The partition's state at the end of the log, and the outcomes that wait to be applied.

use std::collections::VecDeque;

use bytes::Bytes;
use quorate_log_engine::{Frame, FrameKind, RecoveredEntry, Stamp};
use quorate_record::BatchHeader;

use super::{
    entries::{decode_expiry, decode_trim},
    state::{Append, Outcome, PartitionState, Undo},
};

#[cfg(feature = "planted-bugs")]
use quorate_planted_bugs::PlantedBug;

#[derive(Debug)]
struct Unapplied {
    index: u64,
    /// `None` for one of Raft's own entries.
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
        let batch = match frame.kind {
            FrameKind::Batch => Some(BatchHeader::parse(&frame.payload).map_err(|error| error.to_string())?),
            _ => None,
        };
        let append = batch.as_ref().map(|batch| Append {
            index: frame.index,
            batch,
            expected_end_offset: frame.expected_end_offset,
            leader_time_ms: frame.leader_time_ms,
        });
        let decided = self.decide(frame.kind, append.as_ref(), &frame.payload)?;
        if let Some((Outcome::Appended { base_offset }, _)) = decided {
            // Kafka's field is 32 bits wide; the frame header holds the whole term.
            let leader_epoch = i32::try_from(frame.term).unwrap_or(i32::MAX);
            frame.stamp = Some(Stamp { base_offset, leader_epoch });
        }
        frame.next_offset = self.state.end_offset();
        self.push(frame.index, decided);
        Ok(())
    }

    fn decide(
        &mut self,
        kind: FrameKind,
        append: Option<&Append<'_>>,
        payload: &Bytes,
    ) -> Result<Option<(Outcome, Undo)>, String> {
        Ok(match (kind, append) {
            (_, Some(append)) => Some(self.state.advance(append)),
            (FrameKind::Trim, None) => {
                let before = decode_trim(payload.clone()).map_err(|error| error.to_string())?;
                Some(self.state.trim(before))
            }
            (FrameKind::ProducerExpiry, None) => {
                let idle = decode_expiry(payload.clone()).map_err(|error| error.to_string())?;
                Some(self.state.expire(&idle))
            }
            #[cfg(feature = "planted-bugs")]
            (FrameKind::Blank, None) if PlantedBug::DedupLostOnFailover.is_planted() => {
                self.state.forget_producers();
                None
            }
            _ => None,
        })
    }

    /// Decides an entry again that the log already holds, and checks that the log says the same.
    pub(crate) fn recover(&mut self, entry: &RecoveredEntry<'_>, applied_through: Option<u64>) -> Result<(), String> {
        let index = entry.header.index;
        let append = entry.batch.map(|batch| Append {
            index,
            batch,
            expected_end_offset: entry.header.expected_end_offset,
            leader_time_ms: entry.header.leader_time_ms,
        });
        let decided = self.decide(entry.header.kind, append.as_ref(), &entry.payload)?;
        if let Some(batch) = entry.batch {
            let stored = (!entry.header.rejected).then(|| batch.base_offset.cast_unsigned());
            let decides = match decided {
                Some((Outcome::Appended { base_offset }, _)) => Some(base_offset),
                _ => None,
            };
            if stored != decides {
                return Err(format!("log index {index} is stored as {stored:?}, but its prefix decides {decided:?}"));
            }
        }
        if applied_through.is_none_or(|applied| index > applied) {
            self.push(index, decided);
        }
        Ok(())
    }

    /// Takes all entries up to this log index for applied: their effects came by a snapshot that ends there.
    pub(crate) fn skip_through(&mut self, index: u64) {
        while self.unapplied.pop_front_if(|first| first.index <= index).is_some() {}
    }

    /// The state before the entry of this log index, which is not applied, or is the next one to come.
    pub(crate) fn state_before(&self, index: u64) -> PartitionState {
        let applied = self.unapplied.front().is_some_and(|first| first.index > index);
        assert!(!applied, "an entry that is applied cannot be undone");
        let mut state = self.state.clone();
        let later = self.unapplied.iter().rev().take_while(|entry| entry.index >= index);
        later.filter_map(|entry| entry.decided.as_ref()).for_each(|(_, undo)| state.undo(undo.clone()));
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

    /// The outcome of the next entry to be applied; `None` if that is one of Raft's own.
    pub(crate) fn apply(&mut self, index: u64) -> Option<Outcome> {
        let next = self.unapplied.pop_front();
        assert_eq!(next.as_ref().map(|next| next.index), Some(index), "entries are applied in order, once");
        next.and_then(|next| next.decided).map(|(outcome, _)| outcome)
    }

    /// The log index of the next entry to be applied, if the log has it.
    #[cfg(test)]
    pub(crate) fn next_unapplied(&self) -> Option<u64> {
        self.unapplied.front().map(|next| next.index)
    }

    fn push(&mut self, index: u64, decided: Option<(Outcome, Undo)>) {
        assert!(self.unapplied.back().is_none_or(|last| last.index + 1 == index), "entries are dense in log index");
        self.unapplied.push_back(Unapplied { index, decided });
    }
}

#[cfg(test)]
mod tests;
