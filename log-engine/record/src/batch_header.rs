use bytes::{Buf, BufMut};

use crate::layout::{BATCH_LENGTH_MIN, HEADER_SIZE, LENGTH_OVERHEAD, MAGIC_V2};
use crate::{BatchError, Compression, ProducerStamp, advance_sequence, attributes};

/// The header of a batch. The magic is left out, as there is but one, and of the attributes only the codec remains, as
/// everything else there is refused.
///
/// Invariants of a parsed header: `batch_length >= 49`, `record_count >= 1`, `last_offset_delta == record_count - 1`,
/// no offset exceeds `i64::MAX`, and the [producer](Self::producer) is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record. Outside the CRC.
    pub base_offset: i64,
    /// Size of the batch without its first 12 bytes, in bytes. Outside the CRC.
    pub batch_length: i32,
    /// Leader epoch under which the batch was appended; -1 before. Outside the CRC.
    pub leader_epoch: i32,
    /// CRC-32C of everything from byte 21 to the end of the batch. Parsing does not verify it.
    pub crc: u32,
    /// Codec of the records.
    pub compression: Compression,
    /// Offset of the last record minus the base offset.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, milliseconds since the Unix epoch.
    pub base_timestamp: i64,
    /// Greatest timestamp, milliseconds since the Unix epoch. As the producer says: the records may tell otherwise.
    pub max_timestamp: i64,
    /// Producer id; -1 is none.
    pub producer_id: i64,
    /// Producer epoch; -1 is none.
    pub producer_epoch: i16,
    /// Sequence of the first record; -1 is none.
    pub base_sequence: i32,
    /// Number of records.
    pub record_count: i32,
}

impl BatchHeader {
    /// Parses the header at the start of `batch`, of which it needs only the first [`HEADER_SIZE`] bytes.
    ///
    /// # Errors
    ///
    /// If there are fewer bytes, or the header is not that of a batch Quorate accepts. The CRC and the actual size of
    /// the batch are not looked at: see [`validate`](crate::validate).
    pub fn parse(batch: &[u8]) -> Result<Self, BatchError> {
        let Some(mut fields) = batch.get(..HEADER_SIZE) else {
            return Err(BatchError::Truncated { expected: HEADER_SIZE, found: batch.len() });
        };
        let base_offset = fields.get_i64();
        let batch_length = fields.get_i32();
        let leader_epoch = fields.get_i32();
        let magic = fields.get_i8();
        // First of all: under another magic, no other field is where it is expected.
        if magic != MAGIC_V2 {
            return Err(BatchError::UnsupportedMagic { expected: MAGIC_V2, found: magic });
        }
        let header = Self {
            base_offset,
            batch_length,
            leader_epoch,
            crc: fields.get_u32(),
            compression: attributes::decode(fields.get_i16())?,
            last_offset_delta: fields.get_i32(),
            base_timestamp: fields.get_i64(),
            max_timestamp: fields.get_i64(),
            producer_id: fields.get_i64(),
            producer_epoch: fields.get_i16(),
            base_sequence: fields.get_i32(),
            record_count: fields.get_i32(),
        };
        header.check()?;
        Ok(header)
    }

    /// The bytes of the header: the inverse of [`parse`](Self::parse).
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        let mut fields = &mut bytes[..];
        fields.put_i64(self.base_offset);
        fields.put_i32(self.batch_length);
        fields.put_i32(self.leader_epoch);
        fields.put_i8(MAGIC_V2);
        fields.put_u32(self.crc);
        fields.put_i16(attributes::encode(self.compression));
        fields.put_i32(self.last_offset_delta);
        fields.put_i64(self.base_timestamp);
        fields.put_i64(self.max_timestamp);
        fields.put_i64(self.producer_id);
        fields.put_i16(self.producer_epoch);
        fields.put_i32(self.base_sequence);
        fields.put_i32(self.record_count);
        bytes
    }

    /// Size of the whole batch, this header included, in bytes.
    pub fn total_size(&self) -> usize {
        self.batch_length as usize + LENGTH_OVERHEAD
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Offset of the record that follows the batch.
    pub fn next_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.record_count))
    }

    /// The producer's fields together; [`ProducerStamp::NONE`] if the batch has no producer.
    pub fn producer(&self) -> ProducerStamp {
        ProducerStamp {
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
        }
    }

    /// Sequence of the last record, with Kafka's wrap-around from `i32::MAX` to 0; -1 if the batch has no producer.
    pub fn last_sequence(&self) -> i32 {
        if self.producer() == ProducerStamp::NONE {
            return self.base_sequence;
        }
        advance_sequence(self.base_sequence, self.last_offset_delta)
    }

    fn check(&self) -> Result<(), BatchError> {
        let Self { base_offset, batch_length, last_offset_delta, record_count, .. } = *self;
        if batch_length < BATCH_LENGTH_MIN {
            return Err(BatchError::InvalidBatchLength { expected_min: BATCH_LENGTH_MIN, found: batch_length });
        }
        if record_count < 1 {
            return Err(BatchError::InvalidRecordCount { found: record_count });
        }
        if last_offset_delta != record_count - 1 {
            return Err(BatchError::InvalidLastOffsetDelta { expected: record_count - 1, found: last_offset_delta });
        }
        if base_offset.checked_add(i64::from(record_count)).is_none() {
            return Err(BatchError::OffsetOverflow { base_offset, record_count });
        }
        let ProducerStamp { producer_id, producer_epoch, base_sequence } = self.producer();
        if !self.producer().is_valid() {
            return Err(BatchError::InvalidProducer { producer_id, producer_epoch, base_sequence });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout;

    const HEADER: BatchHeader = BatchHeader {
        base_offset: 1000,
        batch_length: 70,
        leader_epoch: 3,
        crc: 0xdead_beef,
        compression: Compression::Zstd,
        last_offset_delta: 4,
        base_timestamp: 1_700_000_000_000,
        max_timestamp: 1_700_000_000_009,
        producer_id: 77,
        producer_epoch: 2,
        base_sequence: 40,
        record_count: 5,
    };

    #[test]
    fn a_header_round_trips_and_counts_right() {
        assert_eq!(BatchHeader::parse(&HEADER.encode()), Ok(HEADER));
        assert_eq!(HEADER.total_size(), 82);
        assert_eq!((HEADER.last_offset(), HEADER.next_offset()), (1004, 1005));
        assert_eq!(HEADER.last_sequence(), 44);
    }

    #[test]
    fn fields_lie_where_the_layout_says() {
        let bytes = HEADER.encode();
        assert_eq!(bytes[layout::BASE_OFFSET..layout::BATCH_LENGTH], 1000i64.to_be_bytes());
        assert_eq!(bytes[layout::BATCH_LENGTH..layout::LEADER_EPOCH], 70i32.to_be_bytes());
        assert_eq!(bytes[layout::LEADER_EPOCH..layout::MAGIC], 3i32.to_be_bytes());
        assert_eq!(bytes[layout::CRC..layout::ATTRIBUTES], 0xdead_beef_u32.to_be_bytes());
        assert_eq!(bytes[layout::PRODUCER_ID..layout::PRODUCER_EPOCH], 77i64.to_be_bytes());
        assert_eq!(bytes[layout::RECORD_COUNT..layout::RECORDS], 5i32.to_be_bytes());
    }

    #[test]
    fn the_last_sequence_wraps_around_and_is_none_without_a_producer() {
        let wrapping = BatchHeader { base_sequence: i32::MAX - 1, ..HEADER };
        assert_eq!(wrapping.last_sequence(), 2);
        let none = BatchHeader { producer_id: -1, producer_epoch: -1, base_sequence: -1, ..HEADER };
        assert_eq!(none.last_sequence(), -1);
    }

    #[test]
    fn malformed_headers_are_refused() {
        let parse = |header: BatchHeader| BatchHeader::parse(&header.encode());
        assert_eq!(
            parse(BatchHeader { batch_length: 48, ..HEADER }),
            Err(BatchError::InvalidBatchLength { expected_min: 49, found: 48 })
        );
        assert_eq!(
            parse(BatchHeader { record_count: 0, last_offset_delta: -1, ..HEADER }),
            Err(BatchError::InvalidRecordCount { found: 0 })
        );
        assert_eq!(
            parse(BatchHeader { last_offset_delta: 5, ..HEADER }),
            Err(BatchError::InvalidLastOffsetDelta { expected: 4, found: 5 })
        );
        assert_eq!(
            parse(BatchHeader { base_offset: i64::MAX - 4, ..HEADER }),
            Err(BatchError::OffsetOverflow { base_offset: i64::MAX - 4, record_count: 5 })
        );
        assert!(parse(BatchHeader { base_offset: i64::MAX - 5, ..HEADER }).is_ok());
        assert_eq!(
            parse(BatchHeader { base_sequence: -1, ..HEADER }),
            Err(BatchError::InvalidProducer { producer_id: 77, producer_epoch: 2, base_sequence: -1 })
        );
    }

    #[test]
    fn another_magic_and_a_short_header_are_refused() {
        let mut bytes = HEADER.encode();
        assert_eq!(BatchHeader::parse(&bytes[..60]), Err(BatchError::Truncated { expected: 61, found: 60 }));
        bytes[layout::MAGIC] = 1;
        assert_eq!(BatchHeader::parse(&bytes), Err(BatchError::UnsupportedMagic { expected: 2, found: 1 }));
    }
}
