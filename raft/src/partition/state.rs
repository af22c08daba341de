//! The state of a partition as a pure function of its log prefix.
//!
//! No clock, no configuration and no randomness enters: every replica that has the same entries has the same state.

use quorate_record::BatchHeader;

use super::producers::{ProducerEntry, ProducerTable, Written};

/// What an entry asks for.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// Its log index.
    pub index: u64,
    /// The batch.
    pub batch: &'a BatchHeader,
    /// The end offset it is conditional on.
    pub expected_end_offset: Option<u64>,
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
}

/// How to take an entry back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undo {
    end_offset: u64,
    producer: Option<(i64, Option<ProducerEntry>)>,
}

/// End offset and producer table after some prefix of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionState {
    end_offset: u64,
    producers: ProducerTable,
}

impl PartitionState {
    pub(super) fn new(end_offset: u64, producers: ProducerTable) -> Self {
        Self { end_offset, producers }
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

    /// Takes the next entry in.
    pub fn advance(&mut self, append: &Append<'_>) -> (Outcome, Undo) {
        let mut undo = Undo { end_offset: self.end_offset, producer: None };
        let outcome = match self.check_producer(append.batch) {
            Err(refused) => refused,
            Ok(producer) => match append.expected_end_offset {
                Some(expected) if expected != self.end_offset => {
                    Outcome::EndOffsetMismatch { end_offset: self.end_offset }
                }
                _ => {
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
                        undo.producer = Some((id, self.producers.set(id, Some(producer.with(written)))));
                    }
                    Outcome::Appended { base_offset }
                }
            },
        };
        (outcome, undo)
    }

    /// Takes the last entry back.
    pub fn undo(&mut self, undo: Undo) {
        self.end_offset = undo.end_offset;
        if let Some((producer_id, before)) = undo.producer {
            self.producers.set(producer_id, before);
        }
    }

    /// The entry of the table that the batch continues (`None` for a batch without a producer), or why it may not.
    fn check_producer(&self, batch: &BatchHeader) -> Result<Option<ProducerEntry>, Outcome> {
        if batch.producer_id < 0 {
            return Ok(None);
        }
        let first = batch.base_sequence;
        match self.producers.get(batch.producer_id) {
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
                let (outcome, undo) = state.advance(&Append { index, batch: &batch, expected_end_offset });
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
        let entry = ProducerEntry::new(0).with(Written {
            first_sequence: i32::MAX - 1,
            last_sequence: i32::MAX,
            base_offset: 3,
            index: 1,
        });
        assert_eq!(entry.next_sequence(), 0);
    }

    #[test]
    fn a_full_table_refuses_newcomers_and_evicts_nobody() {
        let mut state = PartitionState::default();
        let newcomer = batch(0, 0, 0, 1);
        for id in 0..PRODUCERS_PER_PARTITION_MAX as i64 {
            let batch = BatchHeader { producer_id: id, ..newcomer };
            state.advance(&Append { index: id as u64, batch: &batch, expected_end_offset: None });
        }
        let outcomes = play(&mut state, &[(i64::MAX, 0, 0, 1, None), (0, 0, 1, 1, None)]);
        assert_eq!(outcomes[0], Outcome::TooManyProducers);
        assert!(matches!(outcomes[1], Outcome::Appended { .. }));
    }
}
