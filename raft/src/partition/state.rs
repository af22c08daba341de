//! The state of a partition as a pure function of its log prefix.
//!
//! No clock, no configuration and no randomness enters: every replica that has the same entries has the same state.

use quorate_record::BatchHeader;

use super::{
    entries::IdleProducer,
    producers::{ProducerEntry, ProducerTable, Written},
};

#[cfg(feature = "planted-bugs")]
use quorate_planted_bugs::PlantedBug;

/// What an entry asks for.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// Its log index.
    pub index: u64,
    /// The batch.
    pub batch: &'a BatchHeader,
    /// The end offset it is conditional on.
    pub expected_end_offset: Option<u64>,
    /// The leader's clock when it proposed the entry, milliseconds since 1970. It decides nothing; it is remembered.
    pub leader_time_ms: i64,
}

/// What an entry did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The records have offsets from here on.
    Appended {
        /// The offset of the first record.
        base_offset: u64,
    },
    /// The same batch had been appended before; nothing was added.
    Duplicate {
        /// The offset it was given then.
        base_offset: u64,
    },
    /// The sequence does not follow the producer's last one.
    OutOfOrderSequence {
        /// The sequence that would.
        expected: i32,
    },
    /// A newer epoch of the producer has written.
    Fenced {
        /// That epoch.
        epoch: i16,
    },
    /// The producer is not known here, and its sequence is not 0.
    UnknownProducer,
    /// The partition remembers its maximum of producers.
    TooManyProducers,
    /// The append was conditional on another end offset.
    EndOffsetMismatch {
        /// The end offset at this point of the log.
        end_offset: u64,
    },
    /// The records before this offset are deleted, or were before.
    Trimmed {
        /// The first retained offset.
        log_start_offset: u64,
    },
    /// Idle producers were forgotten.
    Expired {
        /// How many; those that have written meanwhile stay.
        count: usize,
    },
}

/// How to take an entry back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    end_offset: u64,
    log_start_offset: u64,
    producers: UndoProducers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum UndoProducers {
    Untouched,
    Written(i64, Option<ProducerEntry>),
    Expired(Vec<(i64, ProducerEntry)>),
}

/// End offset, log start offset and producer table after some prefix of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionState {
    end_offset: u64,
    log_start_offset: u64,
    producers: ProducerTable,
}

impl PartitionState {
    pub(super) fn new(end_offset: u64, log_start_offset: u64, producers: ProducerTable) -> Self {
        Self { end_offset, log_start_offset, producers }
    }

    /// The first retained offset.
    #[must_use]
    pub fn log_start_offset(&self) -> u64 {
        self.log_start_offset
    }

    /// The offset the next record will get.
    #[must_use]
    pub fn end_offset(&self) -> u64 {
        self.end_offset
    }

    pub(super) fn producers(&self) -> &ProducerTable {
        &self.producers
    }

    /// What is known of a producer.
    #[must_use]
    pub fn producer(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.producers.get(producer_id)
    }

    #[cfg(feature = "planted-bugs")]
    pub(super) fn forget_producers(&mut self) {
        self.producers = ProducerTable::default();
    }

    fn undo_nothing(&self) -> Undo {
        Undo {
            end_offset: self.end_offset,
            log_start_offset: self.log_start_offset,
            producers: UndoProducers::Untouched,
        }
    }

    /// Takes the next batch in.
    pub fn advance(&mut self, append: &Append<'_>) -> (Outcome, Undo) {
        let mut undo = self.undo_nothing();
        let producer = match self.decide(append) {
            Ok(producer) => producer,
            Err(refused) => return (refused, undo),
        };
        let base_offset = self.end_offset;
        self.end_offset += u64::from(append.batch.record_count.unsigned_abs());
        if let Some(producer) = producer {
            let written = Written {
                first_sequence: append.batch.base_sequence,
                last_sequence: append.batch.last_sequence(),
                base_offset,
                index: append.index,
            };
            let id = append.batch.producer_id;
            let before = self.producers.set(id, Some(producer.with(written, append.leader_time_ms)));
            undo.producers = UndoProducers::Written(id, before);
        }
        (Outcome::Appended { base_offset }, undo)
    }

    /// Deletes the records before an offset, of those that there are.
    pub fn trim(&mut self, before: u64) -> (Outcome, Undo) {
        let undo = self.undo_nothing();
        self.log_start_offset = self.log_start_offset.max(before.min(self.end_offset));
        (Outcome::Trimmed { log_start_offset: self.log_start_offset }, undo)
    }

    /// Forgets these producers, but those whose last batch is another one by now.
    pub fn expire(&mut self, idle: &[IdleProducer]) -> (Outcome, Undo) {
        let mut undo = self.undo_nothing();
        let mut expired = Vec::new();
        for IdleProducer { producer_id, last_index } in idle {
            let last = self.producers.get(*producer_id).and_then(ProducerEntry::last);
            if last.is_some_and(|last| last.index == *last_index)
                && let Some(before) = self.producers.set(*producer_id, None)
            {
                expired.push((*producer_id, before));
            }
        }
        let count = expired.len();
        undo.producers = UndoProducers::Expired(expired);
        (Outcome::Expired { count }, undo)
    }

    /// Takes the last entry back.
    pub fn undo(&mut self, undo: Undo) {
        (self.end_offset, self.log_start_offset) = (undo.end_offset, undo.log_start_offset);
        match undo.producers {
            UndoProducers::Untouched => {}
            UndoProducers::Written(producer_id, before) => _ = self.producers.set(producer_id, before),
            UndoProducers::Expired(expired) => {
                expired.into_iter().for_each(|(id, before)| _ = self.producers.set(id, Some(before)));
            }
        }
    }

    /// Why the batch would be refused, if it came next.
    #[must_use]
    pub fn refusal(&self, append: &Append<'_>) -> Option<Outcome> {
        self.decide(append).err()
    }

    /// The entry of the table that the batch continues (`None` for a batch without a producer), or why it is refused.
    fn decide(&self, append: &Append<'_>) -> Result<Option<ProducerEntry>, Outcome> {
        let producer = self.check_producer(append.batch)?;
        match append.expected_end_offset {
            Some(expected) if expected != self.end_offset => {
                Err(Outcome::EndOffsetMismatch { end_offset: self.end_offset })
            }
            _ => Ok(producer),
        }
    }

    /// The entry of the table that the batch continues (`None` for a batch without a producer), or why it may not.
    fn check_producer(&self, batch: &BatchHeader) -> Result<Option<ProducerEntry>, Outcome> {
        if batch.producer_id < 0 {
            return Ok(None);
        }
        let first = batch.base_sequence;
        match self.producers.get(batch.producer_id) {
            // As a node would that believes whatever it does not remember.
            #[cfg(feature = "planted-bugs")]
            None if PlantedBug::DedupLostOnFailover.is_planted() || PlantedBug::DedupLostInSnapshot.is_planted() => {
                Ok(Some(ProducerEntry::new(batch.producer_epoch)))
            }
            None if first != 0 => Err(Outcome::UnknownProducer),
            None if self.producers.is_full() => Err(Outcome::TooManyProducers),
            None => Ok(Some(ProducerEntry::new(batch.producer_epoch))),
            Some(known) if batch.producer_epoch < known.epoch => Err(Outcome::Fenced { epoch: known.epoch }),
            Some(known) if batch.producer_epoch > known.epoch => match first {
                0 => Ok(Some(ProducerEntry::new(batch.producer_epoch))),
                _ => Err(Outcome::OutOfOrderSequence { expected: 0 }),
            },
            Some(known) => match known.find(first, batch.last_sequence()) {
                Some(written) => Err(Outcome::Duplicate { base_offset: written.base_offset }),
                None if first == known.next_sequence() => Ok(Some(*known)),
                None => Err(Outcome::OutOfOrderSequence { expected: known.next_sequence() }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use quorate_cluster_config::limits::PRODUCERS_PER_PARTITION_MAX;
    use quorate_record::{BatchBuilder, Compression, ProducerStamp, Record};

    fn batch(producer_id: i64, producer_epoch: i16, base_sequence: i32, records: usize) -> BatchHeader {
        let mut builder = BatchBuilder::new(Compression::None);
        for _ in 0..records {
            let record = Record { key: None, value: Some("value".into()), headers: Vec::new(), timestamp_ms: 1 };
            builder.push(&record);
        }
        let bytes = builder.build(ProducerStamp { producer_id, producer_epoch, base_sequence }).unwrap();
        BatchHeader::parse(&bytes).unwrap()
    }

    /// A script of appends, one outcome a line: readable as a protocol trace.
    fn play(state: &mut PartitionState, script: &[(i64, i16, i32, usize, Option<u64>)]) -> Vec<Outcome> {
        let mut index = 0;
        let play =
            |&(producer, epoch, sequence, records, expected_end_offset): &(i64, i16, i32, usize, Option<u64>)| {
                index += 1;
                let batch = batch(producer, epoch, sequence, records);
                let before = state.clone();
                let (outcome, undo) =
                    state.advance(&Append { index, batch: &batch, expected_end_offset, leader_time_ms: 0 });
                let mut undone = state.clone();
                undone.undo(undo);
                assert_eq!(undone, before, "undo restores the state before");
                outcome
            };
        script.iter().map(play).collect()
    }

    #[test]
    fn retries_are_duplicates_and_gaps_are_refused() {
        use Outcome::*;
        let outcomes = play(
            &mut PartitionState::default(),
            &[
                (7, 0, 0, 2, None),    // the first batch
                (7, 0, 2, 3, None),    // the next one
                (7, 0, 0, 2, None),    // the first again
                (7, 0, 9, 1, None),    // a gap
                (8, 0, 4, 1, None),    // nobody knows producer 8
                (-1, -1, -1, 1, None), // no producer at all
                (7, 0, 5, 1, None),
                (7, 0, 2, 3, None),
            ],
        );
        assert_eq!(
            outcomes,
            [
                Appended { base_offset: 0 },
                Appended { base_offset: 2 },
                Duplicate { base_offset: 0 },
                OutOfOrderSequence { expected: 5 },
                UnknownProducer,
                Appended { base_offset: 5 },
                Appended { base_offset: 6 },
                Duplicate { base_offset: 2 },
            ]
        );
    }

    #[test]
    fn exactly_the_last_five_batches_are_remembered() {
        let mut state = PartitionState::default();
        let script: Vec<_> = (0..6).map(|sequence| (1, 0, sequence, 1, None)).collect();
        play(&mut state, &script);
        let outcomes = play(&mut state, &[(1, 0, 1, 1, None), (1, 0, 0, 1, None)]);
        assert_eq!(outcomes, [Outcome::Duplicate { base_offset: 1 }, Outcome::OutOfOrderSequence { expected: 6 }]);
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_fences_the_old_one() {
        use Outcome::*;
        let outcomes = play(
            &mut PartitionState::default(),
            &[(1, 0, 0, 1, None), (1, 1, 5, 1, None), (1, 1, 0, 1, None), (1, 0, 1, 1, None)],
        );
        let expected = [
            Appended { base_offset: 0 },
            OutOfOrderSequence { expected: 0 },
            Appended { base_offset: 1 },
            Fenced { epoch: 1 },
        ];
        assert_eq!(outcomes, expected);
    }

    #[test]
    fn a_conditional_append_happens_once_even_if_retried() {
        use Outcome::*;
        let outcomes = play(
            &mut PartitionState::default(),
            &[(1, 0, 0, 2, Some(0)), (1, 0, 0, 2, Some(0)), (1, 0, 2, 1, Some(0)), (1, 0, 2, 1, Some(2))],
        );
        let expected = [
            Appended { base_offset: 0 },
            Duplicate { base_offset: 0 },
            EndOffsetMismatch { end_offset: 2 },
            Appended { base_offset: 2 },
        ];
        assert_eq!(outcomes, expected);
    }

    #[test]
    fn sequences_wrap_around() {
        let written = Written { first_sequence: i32::MAX - 1, last_sequence: i32::MAX, base_offset: 3, index: 1 };
        let entry = ProducerEntry::new(0).with(written, 0);
        assert_eq!(entry.next_sequence(), 0);
    }

    #[test]
    fn a_full_table_refuses_newcomers_and_evicts_nobody() {
        let mut state = PartitionState::default();
        let newcomer = batch(0, 0, 0, 1);
        for id in 0..PRODUCERS_PER_PARTITION_MAX as i64 {
            let batch = BatchHeader { producer_id: id, ..newcomer };
            state.advance(&Append { index: id as u64, batch: &batch, expected_end_offset: None, leader_time_ms: 0 });
        }
        let outcomes = play(&mut state, &[(i64::MAX, 0, 0, 1, None), (0, 0, 1, 1, None)]);
        assert_eq!(outcomes[0], Outcome::TooManyProducers);
        assert!(matches!(outcomes[1], Outcome::Appended { .. }));
    }

    #[test]
    fn a_trim_moves_the_start_forward_only_and_never_beyond_the_end() {
        let mut state = PartitionState::default();
        play(&mut state, &[(1, 0, 0, 4, None)]);
        for (before, expected) in [(2, 2), (1, 2), (9, 4)] {
            let untouched = state.clone();
            let (outcome, undo) = state.trim(before);
            assert_eq!(outcome, Outcome::Trimmed { log_start_offset: expected });
            assert_eq!((state.log_start_offset(), state.end_offset()), (expected, 4));
            let mut undone = state.clone();
            undone.undo(undo);
            assert_eq!(undone, untouched);
        }
    }

    #[test]
    fn an_expired_producer_is_unknown_and_one_that_has_written_meanwhile_is_not() {
        use Outcome::*;
        let mut state = PartitionState::default();
        play(&mut state, &[(1, 0, 0, 1, None), (2, 0, 0, 1, None), (2, 0, 1, 1, None)]);
        let before = state.clone();
        // Both were seen idle after their first batches, at log indexes 1 and 2.
        let idle = [(1, 1), (2, 2), (3, 9)].map(|(producer_id, last_index)| IdleProducer { producer_id, last_index });
        let (outcome, undo) = state.expire(&idle);
        assert_eq!(outcome, Expired { count: 1 });
        let outcomes = play(&mut state.clone(), &[(1, 0, 1, 1, None), (1, 0, 0, 1, None), (2, 0, 2, 1, None)]);
        assert_eq!(outcomes, [UnknownProducer, Appended { base_offset: 3 }, Appended { base_offset: 4 }]);
        state.undo(undo);
        assert_eq!(state, before);
    }
}
