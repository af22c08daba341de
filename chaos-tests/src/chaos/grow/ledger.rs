//! Which records were acknowledged, and whether what is read back is these, each once and in order. No I/O.
//!
//! Unlike the check of the harness it judges records as they come and keeps none of them: there are hundreds of megabytes.

use std::{collections::BTreeMap, io::Write as _};

use bytes::Bytes;
use serde::Serialize;

/// Bytes of every value.
pub(super) const VALUE_BYTES: usize = 1_024;
const FILLER: u8 = b'q';

/// A record: no two of a run are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordId {
    /// The partition it was sent to.
    pub(super) partition: u32,
    /// The producer that sent it.
    pub(super) writer: u32,
    /// Its number among that producer's records.
    pub(super) number: u64,
}

/// The acknowledged records.
#[derive(Debug)]
pub(super) struct Ledger {
    /// By partition and offset: writer and number.
    partitions: Vec<BTreeMap<u64, (u32, u64)>>,
    acknowledged: u64,
    violation: Option<String>,
}

/// What was read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReadBack {
    /// Records, each of them once.
    pub records: u64,
    /// Of these, how many were never acknowledged: their answers were lost.
    pub unacknowledged: u64,
}

/// Judges records in the order in which they are read.
#[derive(Debug)]
pub(super) struct Judge {
    /// What is acknowledged and was not read yet.
    missing: Vec<BTreeMap<u64, (u32, u64)>>,
    /// By partition: the offset that has to come next.
    next_offsets: Vec<u64>,
    /// By partition and writer: the number read last.
    last_numbers: BTreeMap<(u32, u32), u64>,
    read: ReadBack,
}

impl RecordId {
    /// The value of the record: what it is, and filler.
    pub(super) fn value(self) -> Bytes {
        let Self { partition, writer, number } = self;
        let mut value = Vec::with_capacity(VALUE_BYTES);
        // Writing to a vector does not fail.
        let _ = write!(value, "{partition} {writer} {number} ");
        value.resize(VALUE_BYTES, FILLER);
        value.into()
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let mut parts = value.splitn(4, |byte| *byte == b' ');
        let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse::<u64>().ok();
        let (partition, writer, number) = (number()?, number()?, number()?);
        Some(Self { partition: partition.try_into().ok()?, writer: writer.try_into().ok()?, number })
    }
}

impl Ledger {
    /// Without a record.
    pub(super) fn new(partitions: u32) -> Self {
        let partitions = (0..partitions).map(|_| BTreeMap::new()).collect();
        Self { partitions, acknowledged: 0, violation: None }
    }

    /// Takes an acknowledgement: the record is at this offset.
    pub(super) fn note(&mut self, id: RecordId, offset: u64) {
        self.acknowledged += 1;
        let place = self.partitions.get_mut(id.partition as usize);
        if let Some(before) = place.and_then(|offsets| offsets.insert(offset, (id.writer, id.number))) {
            self.violation.get_or_insert(format!("offset {offset} was acknowledged for {id:?} and for {before:?}"));
        }
    }

    /// How many records were acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Begins to read back.
    ///
    /// # Errors
    /// If two records were acknowledged at one offset.
    pub(super) fn judge(self) -> Result<Judge, String> {
        let read = ReadBack { records: 0, unacknowledged: 0 };
        let next_offsets = vec![0; self.partitions.len()];
        match self.violation {
            Some(violation) => Err(violation),
            None => Ok(Judge { missing: self.partitions, next_offsets, last_numbers: BTreeMap::new(), read }),
        }
    }
}

impl Judge {
    /// Takes the record that was read next from its partition.
    ///
    /// # Errors
    /// If there is a hole before it, if nobody wrote it or wrote it elsewhere, if it comes a second time or out of its
    /// writer's order, or if another record was acknowledged at this offset.
    pub(super) fn take(&mut self, partition: u32, offset: u64, value: &[u8]) -> Result<(), String> {
        let place = format_args!("partition {partition} offset {offset}");
        let next =
            self.next_offsets.get_mut(partition as usize).ok_or_else(|| format!("{place}: no such partition"))?;
        if offset != *next {
            return Err(format!("{place}: offset {next} had to come next"));
        }
        *next += 1;
        let id = RecordId::parse(value).filter(|id| id.value() == value);
        let id = id.ok_or_else(|| format!("{place}: nobody wrote what is there"))?;
        if id.partition != partition {
            return Err(format!("{place}: {id:?} was sent to another partition"));
        }
        // Ascending numbers are different ones, so no record is there twice.
        if let Some(before) = self.last_numbers.insert((partition, id.writer), id.number)
            && before >= id.number
        {
            return Err(format!("{place}: {id:?} comes after number {before}"));
        }
        match self.missing.get_mut(partition as usize).and_then(|offsets| offsets.remove(&offset)) {
            Some(acknowledged) if acknowledged != (id.writer, id.number) => {
                return Err(format!("{place}: {id:?} is there, but {acknowledged:?} was acknowledged"));
            }
            Some(_) => {}
            None => self.read.unacknowledged += 1,
        }
        self.read.records += 1;
        Ok(())
    }

    /// Ends: everything was read.
    ///
    /// # Errors
    /// If an acknowledged record was not.
    pub(super) fn finish(self) -> Result<ReadBack, String> {
        let lost: usize = self.missing.iter().map(BTreeMap::len).sum();
        let first =
            (0..).zip(&self.missing).find_map(|(partition, left): (u32, _)| Some((partition, left.keys().next()?)));
        match first {
            Some((partition, offset)) => Err(format!(
                "{lost} acknowledged records are not there, the first of partition {partition} offset {offset}"
            )),
            None => Ok(self.read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(partition: u32, writer: u32, number: u64) -> RecordId {
        RecordId { partition, writer, number }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(2);
        ledger.note(id(0, 1, 0), 0);
        ledger.note(id(0, 2, 0), 1);
        ledger.note(id(0, 1, 2), 2);
        ledger.note(id(1, 1, 1), 0);
        ledger
    }

    fn read(records: &[(u32, u64, RecordId)]) -> Result<ReadBack, String> {
        let mut judge = ledger().judge()?;
        records.iter().try_for_each(|(partition, offset, id)| judge.take(*partition, *offset, &id.value()))?;
        judge.finish()
    }

    fn good() -> Vec<(u32, u64, RecordId)> {
        vec![(0, 0, id(0, 1, 0)), (1, 0, id(1, 1, 1)), (0, 1, id(0, 2, 0)), (0, 2, id(0, 1, 2))]
    }

    fn violation(change: impl FnOnce(&mut Vec<(u32, u64, RecordId)>)) -> String {
        let mut records = good();
        change(&mut records);
        read(&records).err().unwrap_or_default()
    }

    #[test]
    fn what_was_acknowledged_and_is_there_passes() {
        assert_eq!(ledger().acknowledged(), 4);
        assert_eq!(read(&good()), Ok(ReadBack { records: 4, unacknowledged: 0 }));
        let mut more = good();
        more.push((0, 3, id(0, 1, 4)));
        assert_eq!(read(&more), Ok(ReadBack { records: 5, unacknowledged: 1 }));
    }

    #[test]
    fn a_lost_record_is_caught() {
        let lost = violation(|records| records.truncate(3));
        assert_eq!(lost, "1 acknowledged records are not there, the first of partition 0 offset 2");
    }

    #[test]
    fn a_hole_is_caught() {
        assert!(violation(|records| records.retain(|(_, _, id)| id.writer != 2)).contains("offset 1 had to come next"));
    }

    #[test]
    fn a_record_twice_or_out_of_order_is_caught() {
        assert!(violation(|records| records.push((0, 3, id(0, 1, 2)))).contains("comes after number 2"));
        assert!(violation(|records| records.push((0, 3, id(0, 1, 1)))).contains("comes after number 2"));
    }

    #[test]
    fn a_record_in_the_place_of_another_is_caught() {
        assert!(violation(|records| records[3].2 = id(0, 1, 4)).contains("(1, 2) was acknowledged"));
        assert!(violation(|records| records[3].2 = id(1, 1, 2)).contains("was sent to another partition"));
        let mut ledger = ledger();
        ledger.note(id(1, 2, 7), 0);
        assert!(ledger.judge().is_err(), "two records at one offset");
    }

    #[test]
    fn an_altered_record_is_caught() {
        let altered = |judge: &mut Judge, value: &[u8]| judge.take(0, 0, value).err().unwrap_or_default();
        for (at, byte) in [(VALUE_BYTES - 1, b'x'), (1, b'x'), (0, 0xff)] {
            let mut judge = ledger().judge().unwrap_or_else(|violation| panic!("{violation}"));
            let mut value = id(0, 1, 0).value().to_vec();
            value[at] = byte;
            assert!(altered(&mut judge, &value).contains("nobody wrote"), "byte {at}");
        }
    }
}
