use thiserror::Error;

use crate::{Compression, RecordError};

/// Why bytes are not a batch that Quorate accepts.
///
/// Each of them is a property of the bytes alone: the same bytes are refused everywhere and always, so there is no
/// point in a retry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes end before the header or the batch does.
    #[error("the batch is cut short: expected {expected} bytes, found {found}")]
    Truncated {
        /// Bytes that the header, or the batch by its length field, takes.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// There are bytes behind the end of the batch.
    #[error("bytes follow the batch: expected {expected} bytes, found {found}")]
    TrailingBytes {
        /// Size of the batch by its length field.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The version of the format is another.
    #[error("unsupported batch version (magic): expected {expected}, found {found}")]
    UnsupportedMagic {
        /// [`layout::MAGIC_V2`](crate::layout::MAGIC_V2).
        expected: i8,
        /// Version in the header.
        found: i8,
    },
    /// The length field is less than a header takes.
    #[error("invalid batch length: expected at least {expected_min}, found {found}")]
    InvalidBatchLength {
        /// [`layout::BATCH_LENGTH_MIN`](crate::layout::BATCH_LENGTH_MIN).
        expected_min: i32,
        /// Length in the header.
        found: i32,
    },
    /// The bytes were damaged on their way.
    #[error("the batch is damaged: expected CRC-32C {expected:#010x}, found {found:#010x}")]
    CrcMismatch {
        /// Checksum in the header.
        expected: u32,
        /// Checksum of the bytes.
        found: u32,
    },
    /// The codec is one of Kafka's that Quorate does not read.
    #[error("compression {codec} is not supported: expected none, lz4 or zstd")]
    UnsupportedCompression {
        /// Name of the codec.
        codec: &'static str,
    },
    /// The codec is none of Kafka's.
    #[error("unknown compression code {code}: expected none (0), lz4 (3) or zstd (4)")]
    UnknownCompression {
        /// Code in the attributes.
        code: i16,
    },
    /// The attributes ask for something Quorate does not have.
    #[error("{feature} are not supported (attributes {attributes:#06x})")]
    UnsupportedAttributes {
        /// What the attributes ask for.
        feature: &'static str,
        /// Attributes in the header.
        attributes: i16,
    },
    /// There are no records, or fewer.
    #[error("invalid record count: expected at least 1, found {found}")]
    InvalidRecordCount {
        /// Count in the header.
        found: i32,
    },
    /// The offsets of the batch are not dense.
    #[error("invalid last offset delta: expected {expected}, found {found}")]
    InvalidLastOffsetDelta {
        /// Record count minus 1.
        expected: i32,
        /// Delta in the header.
        found: i32,
    },
    /// The batch reaches beyond the last possible offset.
    #[error("the offsets overflow: base offset {base_offset}, {record_count} records")]
    OffsetOverflow {
        /// Base offset in the header.
        base_offset: i64,
        /// Count in the header.
        record_count: i32,
    },
    /// Producer id, epoch and base sequence must all be -1, or none negative.
    #[error(
        "invalid producer fields: id {producer_id}, epoch {producer_epoch}, base sequence {base_sequence}; \
         expected all -1 or none negative"
    )]
    InvalidProducer {
        /// Producer id in the header.
        producer_id: i64,
        /// Producer epoch in the header.
        producer_epoch: i16,
        /// Base sequence in the header.
        base_sequence: i32,
    },
    /// The batch is larger than the limit.
    #[error("the batch is too large: {size} bytes, the limit is {size_max}")]
    TooLarge {
        /// Size of the batch, in bytes.
        size: usize,
        /// The limit, in bytes.
        size_max: usize,
    },
    /// The batch has more records than the limit.
    #[error("the batch has too many records: {record_count}, the limit is {record_count_max}")]
    TooManyRecords {
        /// Count in the header.
        record_count: i32,
        /// The limit.
        record_count_max: i32,
    },
    /// The records are larger than the limit once decompressed.
    #[error("the {codec} records decompress to more than the limit of {size_max} bytes")]
    DecompressedTooLarge {
        /// Codec of the batch.
        codec: Compression,
        /// The limit, in bytes.
        size_max: usize,
    },
    /// The compressed records are not in the format of their codec.
    #[error("the records are not valid {codec}: {reason}")]
    MalformedCompression {
        /// Codec of the batch.
        codec: Compression,
        /// What the codec had to say.
        reason: String,
    },
    /// A record is malformed.
    #[error("record {index} of the batch is malformed")]
    MalformedRecord {
        /// Position of the record in the batch, from 0.
        index: i32,
        /// What is wrong with it.
        source: RecordError,
    },
}
