use thiserror::Error;

/// Why the bytes of one record within a batch are malformed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes end within a field.
    #[error("the bytes end within the {field}")]
    Truncated {
        /// The field that is cut short.
        field: &'static str,
    },
    /// A variable-length integer does not fit its type.
    #[error("the {field} does not fit {bits} bits")]
    VarintTooLong {
        /// The field that holds it.
        field: &'static str,
        /// Bits of its type: 32 or 64.
        bits: u32,
    },
    /// A length or count is negative, or more than the bytes left can hold.
    #[error("the {field} is {found}, with {remaining} bytes left")]
    InvalidLength {
        /// The field.
        field: &'static str,
        /// Its value.
        found: i32,
        /// Bytes left behind the field.
        remaining: usize,
    },
    /// The offset deltas of a batch must count from 0 without gaps.
    #[error("the offset delta is {found}, expected {expected}")]
    InvalidOffsetDelta {
        /// Position of the record in the batch.
        expected: i32,
        /// Delta in the record.
        found: i32,
    },
    /// The record has more headers than the limit.
    #[error("the record has {found} headers, the limit is {header_count_max}")]
    TooManyHeaders {
        /// The limit.
        header_count_max: usize,
        /// Count in the record.
        found: usize,
    },
    /// A header's key is not text.
    #[error("a header key is not UTF-8 from byte {valid_up_to} on")]
    HeaderKeyNotUtf8 {
        /// Bytes of the key that are valid.
        valid_up_to: usize,
    },
    /// Bytes are left after the record's last field, or after the batch's last record.
    #[error("{count} bytes follow the last field")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
}
