//! What one fetch returned, checked and decoded.

use std::sync::Arc;

use bytes::Bytes;
use quorate_cluster_config::{PartitionId, TopicName};
use quorate_record::{BatchError, BatchHeader, DecodeLimits, decode_batch, split_batches, verify_crc};

use super::handle::ConsumedRecord;
use crate::{error::Error, place::Place};

/// Whole batches of one partition whose offsets follow each other without a gap, beginning at or before `offset`.
#[derive(Debug)]
pub(super) struct Chunk {
    place: Box<Place>,
    /// The first offset wanted. The first batch may begin before it.
    offset: u64,
    batches: Bytes,
    /// The offset after the last batch.
    next_offset: u64,
}

/// The records of a chunk up to its end or to what is wrong with it.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) records: Vec<ConsumedRecord>,
    /// Where to read on.
    pub(super) next_offset: u64,
    pub(super) error: Option<Error>,
}

impl Chunk {
    /// Checks that the batches are what follows `offset`. Their CRCs are checked where they are handed out.
    pub(super) fn check(place: Box<Place>, offset: u64, batches: Bytes) -> Result<Self, Error> {
        let mut next_offset = offset;
        let mut is_first = true;
        for batch in split_batches(batches.clone()) {
            let header = batch
                .and_then(|batch| BatchHeader::parse(&batch))
                .map_err(|error| corrupt(&place, next_offset, &error))?;
            // The header guarantees that the offsets of a batch do not overflow, but not that they are positive.
            let first = u64::try_from(header.base_offset).unwrap_or(u64::MAX);
            let last = u64::try_from(header.last_offset()).unwrap_or(0);
            let follows = if is_first { (first..=last).contains(&next_offset) } else { first == next_offset };
            if !follows {
                return Err(Error::OffsetsNotDense { place, expected: next_offset, first, last });
            }
            next_offset = last + 1;
            is_first = false;
        }
        Ok(Self { place, offset, batches, next_offset })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// The batches as they are, their CRCs checked.
    pub(super) fn verified(self) -> Result<(Bytes, u64), Error> {
        let mut offset = self.offset;
        for batch in split_batches(self.batches.clone()) {
            let header = batch
                .and_then(|batch| verify_crc(&batch).and_then(|()| BatchHeader::parse(&batch)))
                .map_err(|error| corrupt(&self.place, offset, &error))?;
            offset = u64::try_from(header.next_offset()).unwrap_or(offset);
        }
        Ok((self.batches, self.next_offset))
    }

    /// The records from the wanted offset on.
    pub(super) fn decode(self, id: PartitionId, topic: &Arc<TopicName>) -> Decoded {
        let mut records = Vec::new();
        let mut next_offset = self.offset;
        let limits = DecodeLimits::default();
        for batch in split_batches(self.batches) {
            let error = match batch.and_then(|batch| decode_batch(batch, &limits)) {
                Ok(decoded) => decode_into(&mut records, id, topic, &mut next_offset, decoded),
                Err(error) => Err(error),
            };
            if let Err(error) = error {
                let error = Some(corrupt(&self.place, next_offset, &error));
                return Decoded { records, next_offset, error };
            }
        }
        Decoded { records, next_offset: self.next_offset, error: None }
    }
}

fn decode_into(
    records: &mut Vec<ConsumedRecord>,
    id: PartitionId,
    topic: &Arc<TopicName>,
    next_offset: &mut u64,
    decoded: quorate_record::RecordsIter,
) -> Result<(), BatchError> {
    for record in decoded {
        let record = record?;
        let offset = u64::try_from(record.offset).unwrap_or(0);
        if offset >= *next_offset {
            *next_offset = offset + 1;
            let (topic, partition, record) = (Arc::clone(topic), id.index, record.record);
            records.push(ConsumedRecord { topic, partition, offset, record, id });
        }
    }
    Ok(())
}

fn corrupt(place: &Place, offset: u64, error: &BatchError) -> Error {
    let mut reason = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        reason = format!("{reason}: {source}");
    }
    Error::Corrupt { place: Box::new(place.clone()), offset, reason }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use quorate_record::{BatchBuilder, Compression, ProducerStamp, Record, UNPROTECTED_SIZE, stamp};

    use super::*;

    fn batch(base_offset: i64, record_count: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Compression::None);
        for index in 0..record_count {
            builder.push(&Record::new(format!("{}", base_offset + index as i64), 0));
        }
        let batch = builder.build(ProducerStamp::NONE).unwrap();
        let mut stamped = stamp(&batch, base_offset, 1).to_vec();
        stamped.extend_from_slice(&batch[UNPROTECTED_SIZE..]);
        stamped
    }

    fn decode(chunk: Chunk) -> Decoded {
        let id = PartitionId { topic: quorate_cluster_config::TopicId(1), index: 0 };
        chunk.decode(id, &Arc::new(TopicName::parse("orders").unwrap()))
    }

    fn offsets(decoded: &Decoded) -> Vec<u64> {
        decoded.records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn a_batch_that_begins_before_the_wanted_offset_is_trimmed() {
        let batches = [batch(10, 3), batch(13, 2)].concat();
        let decoded = decode(Chunk::check(Box::default(), 11, batches.into()).unwrap());
        assert_eq!(offsets(&decoded), [11, 12, 13, 14]);
        assert_eq!(decoded.records[0].record.value.as_deref(), Some(b"11".as_slice()));
        assert_eq!((decoded.next_offset, decoded.error), (15, None));
    }

    #[test]
    fn gaps_repetitions_and_steps_back_are_internal_errors() {
        for (wanted, first, second) in [(10, 11, 12), (10, 8, 10), (10, 10, 12), (10, 10, 10)] {
            let batches = [batch(first, 1), batch(second, 1)].concat();
            let error = Chunk::check(Box::default(), wanted, batches.into()).unwrap_err();
            assert!(matches!(error, Error::OffsetsNotDense { .. }), "{error}");
        }
    }

    #[test]
    fn damage_is_found_and_the_records_before_it_are_kept() {
        let mut batches = [batch(0, 2), batch(2, 2)].concat();
        *batches.last_mut().unwrap() ^= 1;
        let check = || Chunk::check(Box::default(), 0, batches.clone().into()).unwrap();
        let decoded = decode(check());
        assert_eq!((offsets(&decoded), decoded.next_offset), (vec![0, 1], 2));
        assert!(matches!(decoded.error, Some(Error::Corrupt { offset: 2, .. })));
        assert!(matches!(check().verified(), Err(Error::Corrupt { offset: 2, .. })));
    }

    #[test]
    fn a_batch_cut_short_is_found() {
        let batches = batch(0, 2);
        let cut = Bytes::copy_from_slice(&batches[..batches.len() - 1]);
        assert!(matches!(Chunk::check(Box::default(), 0, cut), Err(Error::Corrupt { offset: 0, .. })));
    }

    #[test]
    fn nothing_is_an_empty_chunk_that_moves_nowhere() {
        let chunk = Chunk::check(Box::default(), 7, Bytes::new()).unwrap();
        assert!(chunk.is_empty());
        assert_eq!(chunk.next_offset(), 7);
    }
}
