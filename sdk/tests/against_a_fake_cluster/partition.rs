//! A partition: batches, and the last five sequences of each producer.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use quorate_protocol::ErrorCode;
use quorate_record::{BatchHeader, BatchLimits, DecodeLimits, UNPROTECTED_SIZE, decode_batch, stamp, validate};

const LIMITS: BatchLimits = BatchLimits { batch_bytes_max: 8 << 20, record_count_max: i32::MAX };

#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub(crate) batches: Vec<Bytes>,
    /// The first offset retained. Whole batches before it are gone.
    pub(crate) log_start: u64,
    /// Where it would end without batches.
    end: u64,
    /// The leader's time of each batch, in ms.
    times: Vec<i64>,
    producers: HashMap<i64, Producer>,
}

#[derive(Debug, Default)]
struct Producer {
    next_sequence: i32,
    recent: VecDeque<(i32, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: u64,
    pub(crate) duplicate: bool,
}

impl Partition {
    pub(crate) fn end_offset(&self) -> u64 {
        self.end
    }

    pub(crate) fn append(
        &mut self,
        batch: &Bytes,
        expected_end_offset: Option<u64>,
        now_ms: i64,
    ) -> Result<Appended, ErrorCode> {
        let header = validate(batch, &LIMITS).map_err(|_| ErrorCode::CorruptBatch)?;
        let base_offset = self.end_offset();
        let (id, sequence) = (header.producer_id, header.base_sequence);
        if sequence > 0 && !self.producers.contains_key(&id) {
            return Err(ErrorCode::UnknownProducer);
        }
        let producer = self.producers.entry(id).or_default();
        if let Some((_, base_offset)) = producer.recent.iter().find(|(recent, _)| *recent == sequence) {
            return Ok(Appended { base_offset: *base_offset, duplicate: true });
        }
        if sequence != producer.next_sequence {
            return Err(ErrorCode::OutOfOrderSequence);
        }
        if expected_end_offset.is_some_and(|expected| expected != base_offset) {
            return Err(ErrorCode::EndOffsetMismatch);
        }
        producer.next_sequence += header.record_count;
        producer.recent.push_back((sequence, base_offset));
        if producer.recent.len() > 5 {
            producer.recent.pop_front();
        }
        let mut stamped = stamp(batch, base_offset as i64, 1).to_vec();
        stamped.extend_from_slice(&batch[UNPROTECTED_SIZE..]);
        self.batches.push(stamped.into());
        self.times.push(now_ms);
        self.end += header.record_count as u64;
        Ok(Appended { base_offset, duplicate: false })
    }

    /// Forgets all producers, as if they had been idle for long.
    pub(crate) fn expire_producers(&mut self) {
        self.producers.clear();
    }

    /// Deletes what is before `offset`.
    pub(crate) fn trim(&mut self, offset: u64) {
        self.log_start = self.log_start.max(offset);
        let gone = self.batches.iter().filter(|batch| next_offset(batch) <= self.log_start).count();
        self.batches.drain(..gone);
        self.times.drain(..gone);
    }

    /// The first offset of the first batch of this time or later.
    pub(crate) fn offset_at(&self, ms: i64) -> u64 {
        let batch = self.times.iter().position(|time| *time >= ms).map(|index| &self.batches[index]);
        batch.map_or(self.end, |batch| BatchHeader::parse(batch).unwrap().base_offset as u64).max(self.log_start)
    }

    /// Whole batches from the one that holds `offset` on, before `end`.
    pub(crate) fn read(&self, offset: u64, end: u64, max_bytes: usize) -> Bytes {
        let mut read = Vec::new();
        for batch in &self.batches {
            let is_wanted = next_offset(batch) > offset && next_offset(batch) <= end;
            if is_wanted && (read.is_empty() || read.len() + batch.len() <= max_bytes) {
                read.extend_from_slice(batch);
            }
        }
        read.into()
    }

    pub(crate) fn values(&self) -> Vec<String> {
        let records =
            self.batches.iter().flat_map(|batch| decode_batch(batch.clone(), &DecodeLimits::default()).unwrap());
        records.map(|record| String::from_utf8(record.unwrap().record.value.unwrap().to_vec()).unwrap()).collect()
    }
}

fn next_offset(batch: &Bytes) -> u64 {
    BatchHeader::parse(batch).unwrap().next_offset() as u64
}
