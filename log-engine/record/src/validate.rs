//! The checks of a whole batch, without a look into its records.

use crate::layout::{ATTRIBUTES, CRC, HEADER_SIZE};
use crate::{BatchError, BatchHeader};

/// What the leader accepts from a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Greatest size of a batch as sent, header included, in bytes.
    pub batch_bytes_max: usize,
    /// Greatest number of records in a batch.
    pub record_count_max: i32,
}

/// Checks a batch where it enters the cluster: header, limits, exact size, CRC. Does not decompress.
///
/// `batch` must be one batch and nothing more.
///
/// # Errors
///
/// The first check that fails, the cheap ones first.
pub fn validate(batch: &[u8], limits: &BatchLimits) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let BatchLimits { batch_bytes_max, record_count_max } = *limits;
    if header.total_size() > batch_bytes_max {
        return Err(BatchError::TooLarge { size: header.total_size(), size_max: batch_bytes_max });
    }
    if header.record_count > record_count_max {
        return Err(BatchError::TooManyRecords { record_count: header.record_count, record_count_max });
    }
    check_intact(batch, &header)?;
    Ok(header)
}

/// Checks the CRC of a batch.
///
/// `batch` must be one batch and nothing more. The CRC covers every byte from [`ATTRIBUTES`] on; the bytes before it
/// are not checked here.
///
/// # Errors
///
/// [`BatchError::CrcMismatch`], or [`BatchError::Truncated`] if there is not even a header.
pub fn verify_crc(batch: &[u8]) -> Result<(), BatchError> {
    let truncated = BatchError::Truncated { expected: HEADER_SIZE, found: batch.len() };
    let Some(head) = batch.first_chunk::<HEADER_SIZE>() else {
        return Err(truncated);
    };
    let Some(expected) = head[CRC..].first_chunk() else {
        return Err(truncated);
    };
    let (expected, found) = (u32::from_be_bytes(*expected), crc32c::crc32c(&batch[ATTRIBUTES..]));
    if found != expected {
        return Err(BatchError::CrcMismatch { expected, found });
    }
    Ok(())
}

/// Checks that `batch` has exactly the size its header tells, and its CRC.
pub(crate) fn check_intact(batch: &[u8], header: &BatchHeader) -> Result<(), BatchError> {
    let (expected, found) = (header.total_size(), batch.len());
    if found < expected {
        return Err(BatchError::Truncated { expected, found });
    }
    if found > expected {
        return Err(BatchError::TrailingBytes { expected, found });
    }
    verify_crc(batch)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{BatchBuilder, Compression, ProducerStamp, Record};

    const LIMITS: BatchLimits = BatchLimits { batch_bytes_max: 1000, record_count_max: 2 };

    fn batch(record_count: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Compression::None);
        for _ in 0..record_count {
            builder.push(&Record::new("value", 7));
        }
        builder.build(ProducerStamp::NONE).unwrap().to_vec()
    }

    #[test]
    fn a_batch_must_have_exactly_its_size() {
        let mut batch = batch(1);
        let expected = batch.len();
        assert_eq!(validate(&batch, &LIMITS).unwrap().total_size(), expected);
        batch.push(0);
        assert_eq!(validate(&batch, &LIMITS), Err(BatchError::TrailingBytes { expected, found: expected + 1 }));
        batch.truncate(expected - 1);
        assert_eq!(validate(&batch, &LIMITS), Err(BatchError::Truncated { expected, found: expected - 1 }));
    }

    #[test]
    fn a_batch_at_the_limits_passes_and_one_above_does_not() {
        let size = batch(2).len();
        let at = BatchLimits { batch_bytes_max: size, record_count_max: 2 };
        assert!(validate(&batch(2), &at).is_ok());
        assert_eq!(
            validate(&batch(2), &BatchLimits { batch_bytes_max: size - 1, ..at }),
            Err(BatchError::TooLarge { size, size_max: size - 1 })
        );
        assert_eq!(
            validate(&batch(2), &BatchLimits { record_count_max: 1, ..at }),
            Err(BatchError::TooManyRecords { record_count: 2, record_count_max: 1 })
        );
    }

    #[test]
    fn a_flipped_bit_breaks_the_crc() {
        let mut batch = batch(1);
        *batch.last_mut().unwrap() ^= 1;
        assert!(matches!(verify_crc(&batch), Err(BatchError::CrcMismatch { .. })));
        assert_eq!(verify_crc(&batch[..60]), Err(BatchError::Truncated { expected: 61, found: 60 }));
    }
}
