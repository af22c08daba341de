use bytes::{Bytes, BytesMut};

use crate::layout::{ATTRIBUTES, CRC, HEADER_SIZE, LENGTH_OVERHEAD};
use crate::{
    BatchHeader, BuildError, Compression, ProducerStamp, Record, UNSTAMPED_BASE_OFFSET, UNSTAMPED_LEADER_EPOCH,
    compression, record_encoding, varint,
};

/// Greatest size of a batch, in bytes: what its length field can express.
const BATCH_SIZE_MAX: usize = i32::MAX as usize + LENGTH_OVERHEAD;

/// Collects records into one batch.
///
/// Records are encoded as they come, straight into the buffer that becomes the batch: a record costs no allocation of
/// its own, and pushing it takes no ownership. The header is filled in at the end.
#[derive(Debug)]
pub struct BatchBuilder {
    compression: Compression,
    /// Room for the header, then the records so far, not compressed.
    buffer: BytesMut,
    record_count: usize,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch whose records will be compressed with this codec, where that makes it smaller.
    pub fn new(compression: Compression) -> Self {
        Self::with_capacity(compression, HEADER_SIZE)
    }

    /// As [`new`](Self::new), with room for a batch of `capacity` bytes before compression.
    pub fn with_capacity(compression: Compression, capacity: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(capacity.max(HEADER_SIZE));
        buffer.resize(HEADER_SIZE, 0);
        Self { compression, buffer, record_count: 0, base_timestamp: 0, max_timestamp: i64::MIN }
    }

    /// Adds a record at the end; returns the [estimated size](Self::estimated_size) with it.
    pub fn push(&mut self, record: &Record) -> usize {
        if self.is_empty() {
            self.base_timestamp = record.timestamp_ms;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp_ms);
        let (timestamp_delta, offset_delta) = self.deltas(record);
        let body_size = record_encoding::body_size(record, timestamp_delta, offset_delta);
        self.buffer.reserve(varint::size(body_size as i64) + body_size);
        record_encoding::put(&mut self.buffer, record, timestamp_delta, offset_delta, body_size);
        self.record_count += 1;
        self.estimated_size()
    }

    /// What [`push`](Self::push) of this record would return, without adding it.
    pub fn size_after(&self, record: &Record) -> usize {
        let (timestamp_delta, offset_delta) = self.deltas(record);
        let body_size = record_encoding::body_size(record, timestamp_delta, offset_delta);
        self.estimated_size() + varint::size(body_size as i64) + body_size
    }

    /// Number of records so far.
    pub fn len(&self) -> usize {
        self.record_count
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Size of the batch before compression, header included, in bytes. The batch built is never larger.
    pub fn estimated_size(&self) -> usize {
        self.buffer.len()
    }

    /// Compresses the records and fills in the header, with base offset 0 and leader epoch -1.
    ///
    /// Records that the codec cannot make smaller stay as they are, and the header says so: the codec of the batch is
    /// then [`Compression::None`].
    ///
    /// # Errors
    ///
    /// If there are no records, if they exceed 2 GiB before compression, or if the stamp is not valid.
    pub fn build(self, stamp: ProducerStamp) -> Result<Bytes, BuildError> {
        if self.is_empty() {
            return Err(BuildError::NoRecords);
        }
        if !stamp.is_valid() {
            return Err(BuildError::InvalidProducer { stamp });
        }
        let size = self.buffer.len();
        // Holds all 32-bit fields at once: no length within the batch, and no count, exceeds its size.
        if size > BATCH_SIZE_MAX {
            return Err(BuildError::TooLarge { size, size_max: BATCH_SIZE_MAX });
        }
        let record_count = self.record_count as i32;
        let (compression, mut batch) = compress(self.compression, self.buffer)?;
        let header = BatchHeader {
            base_offset: UNSTAMPED_BASE_OFFSET,
            batch_length: (batch.len() - LENGTH_OVERHEAD) as i32,
            leader_epoch: UNSTAMPED_LEADER_EPOCH,
            crc: 0,
            compression,
            last_offset_delta: record_count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: stamp.producer_id,
            producer_epoch: stamp.producer_epoch,
            base_sequence: stamp.base_sequence,
            record_count,
        };
        batch[..HEADER_SIZE].copy_from_slice(&header.encode());
        let crc = crc32c::crc32c(&batch[ATTRIBUTES..]);
        batch[CRC..ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
        Ok(batch.freeze())
    }

    /// Timestamp and offset of the next record relative to the first. Timestamps may be any 64 bits, so their distance
    /// wraps around; adding it to the base wraps back.
    fn deltas(&self, record: &Record) -> (i64, i64) {
        let base_timestamp = if self.is_empty() { record.timestamp_ms } else { self.base_timestamp };
        (record.timestamp_ms.wrapping_sub(base_timestamp), self.record_count as i64)
    }
}

/// The batch with its records compressed, and the codec they have then.
fn compress(codec: Compression, plain: BytesMut) -> Result<(Compression, BytesMut), BuildError> {
    match compression::compress(codec, &plain[HEADER_SIZE..], HEADER_SIZE)? {
        // The vector is not shared, so it becomes a `BytesMut` without a copy.
        Some(compressed) if compressed.len() < plain.len() => Ok((codec, BytesMut::from(Bytes::from(compressed)))),
        _ => Ok((Compression::None, plain)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const CODECS: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd];

    #[test]
    fn a_batch_without_records_or_with_half_a_stamp_is_refused() {
        assert_eq!(BatchBuilder::new(Compression::None).build(ProducerStamp::NONE), Err(BuildError::NoRecords));
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(&Record::default());
        let stamp = ProducerStamp { producer_id: 1, ..ProducerStamp::NONE };
        assert_eq!(builder.build(stamp), Err(BuildError::InvalidProducer { stamp }));
    }

    #[test]
    fn the_size_is_known_before_and_after_a_push_and_bounds_the_batch() {
        for codec in CODECS {
            let mut builder = BatchBuilder::new(codec);
            assert_eq!((builder.len(), builder.estimated_size()), (0, HEADER_SIZE));
            for timestamp_ms in [5, -70, i64::MAX] {
                let record = Record::new("v".repeat(200), timestamp_ms).with_key("k").with_header("h", "x");
                let expected = builder.size_after(&record);
                assert_eq!(builder.push(&record), expected);
            }
            let estimated = builder.estimated_size();
            assert_eq!(builder.len(), 3);
            let batch = builder.build(ProducerStamp::NONE).unwrap();
            assert!(if codec == Compression::None { batch.len() == estimated } else { batch.len() < estimated });
        }
    }

    #[test]
    fn records_that_do_not_compress_stay_plain() {
        for codec in CODECS {
            let mut builder = BatchBuilder::new(codec);
            let estimated = builder.push(&Record::new("short", 0));
            let batch = builder.build(ProducerStamp::NONE).unwrap();
            assert_eq!(BatchHeader::parse(&batch).unwrap().compression, Compression::None);
            assert_eq!(batch.len(), estimated);
        }
    }

    #[test]
    fn the_header_tells_of_the_records() {
        let mut builder = BatchBuilder::new(Compression::None);
        for timestamp_ms in [50, 70, 60] {
            builder.push(&Record::new("value", timestamp_ms));
        }
        let stamp = ProducerStamp { producer_id: 9, producer_epoch: 1, base_sequence: i32::MAX };
        let header = BatchHeader::parse(&builder.build(stamp).unwrap()).unwrap();
        assert_eq!((header.base_offset, header.leader_epoch), (0, -1));
        assert_eq!((header.base_timestamp, header.max_timestamp), (50, 70));
        assert_eq!((header.record_count, header.last_offset_delta), (3, 2));
        assert_eq!(header.producer(), stamp);
        assert_eq!(header.last_sequence(), 1);
    }
}
