use std::iter::FusedIterator;

use bytes::Bytes;

use crate::cursor::Cursor;
use crate::layout::HEADER_SIZE;
use crate::validate::check_intact;
use crate::{BatchError, BatchHeader, Header, Record, RecordError, compression};

/// A header has a key length and a value length, one byte each.
const HEADER_SIZE_MIN: usize = 2;
/// Headers for which memory is set aside on the word of a record alone.
const HEADERS_TRUSTED: usize = 16;

/// What a consumer takes from a batch, whoever has produced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Greatest size of a batch's records after decompression, in bytes. Records that are not compressed take no memory
    /// beyond the batch, and are not limited. Default: 64 MiB.
    pub decompressed_bytes_max: usize,
    /// Greatest number of headers of a record: each takes two bytes in the batch, but some fifty in memory. Default:
    /// 65,536.
    pub header_count_max: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { decompressed_bytes_max: 64 << 20, header_count_max: 1 << 16 }
    }
}

/// A record and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedRecord {
    /// Offset in the partition.
    pub offset: i64,
    /// The record.
    pub record: Record,
}

/// The records of one batch, in order. See [`decode_batch`].
///
/// After an error it ends.
#[derive(Clone, Debug)]
pub struct RecordsIter {
    header: BatchHeader,
    header_count_max: usize,
    records: Cursor,
    /// Position of the next record in the batch; the record count once there is none.
    index: i32,
}

/// Checks a batch, decompresses it if need be, and iterates over its records.
///
/// `batch` must be one batch and nothing more: see [`split_batches`](crate::split_batches). Keys, values and header
/// values are slices of the batch, or of the one buffer it is decompressed into, and keep that alive.
///
/// # Errors
///
/// If the header, the size, the CRC or the compression is not right, or a limit is exceeded. That a record is malformed
/// shows when the iteration reaches it: no leader looks into the records, so a producer can make others meet one.
pub fn decode_batch(batch: Bytes, limits: &DecodeLimits) -> Result<RecordsIter, BatchError> {
    let header = BatchHeader::parse(&batch)?;
    check_intact(&batch, &header)?;
    let records =
        compression::decompress(header.compression, &batch.slice(HEADER_SIZE..), limits.decompressed_bytes_max)?;
    let header_count_max = limits.header_count_max;
    Ok(RecordsIter { header, header_count_max, records: Cursor::new(records), index: 0 })
}

impl RecordsIter {
    /// The header of the batch.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    fn decode_next(&mut self) -> Result<DecodedRecord, RecordError> {
        let mut body = Cursor::new(self.records.bytes("record length")?);
        // Attributes of a record: Kafka has reserved them, and given them no meaning.
        body.byte("record attributes")?;
        let timestamp_delta = body.varlong("timestamp delta")?;
        let offset_delta = body.varint("offset delta")?;
        if offset_delta != self.index {
            return Err(RecordError::InvalidOffsetDelta { expected: self.index, found: offset_delta });
        }
        let record = Record {
            key: body.nullable_bytes("key length")?,
            value: body.nullable_bytes("value length")?,
            headers: decode_headers(&mut body, self.header_count_max)?,
            timestamp_ms: self.header.base_timestamp.wrapping_add(timestamp_delta),
        };
        let is_last = self.index == self.header.last_offset_delta;
        let trailing = body.remaining() + if is_last { self.records.remaining() } else { 0 };
        if trailing > 0 {
            return Err(RecordError::TrailingBytes { count: trailing });
        }
        Ok(DecodedRecord { offset: self.header.base_offset + i64::from(offset_delta), record })
    }
}

fn decode_headers(body: &mut Cursor, header_count_max: usize) -> Result<Vec<Header>, RecordError> {
    let count = body.count("header count", HEADER_SIZE_MIN)?;
    if count > header_count_max {
        return Err(RecordError::TooManyHeaders { header_count_max, found: count });
    }
    let mut headers = Vec::with_capacity(count.min(HEADERS_TRUSTED));
    for _ in 0..count {
        let key = body.bytes("header key length")?;
        let key = str::from_utf8(&key)
            .map_err(|error| RecordError::HeaderKeyNotUtf8 { valid_up_to: error.valid_up_to() })?
            .to_owned();
        headers.push(Header { key, value: body.nullable_bytes("header value length")? });
    }
    Ok(headers)
}

impl Iterator for RecordsIter {
    type Item = Result<DecodedRecord, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.index;
        if index == self.header.record_count {
            return None;
        }
        let decoded = self.decode_next().map_err(|source| BatchError::MalformedRecord { index, source });
        // Where the next record would start is unknown after an error.
        self.index = if decoded.is_ok() { index + 1 } else { self.header.record_count };
        Some(decoded)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let remaining = (self.header.record_count - self.index) as usize;
        (remaining.min(1), Some(remaining))
    }
}

impl FusedIterator for RecordsIter {}
