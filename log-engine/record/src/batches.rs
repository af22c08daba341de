use std::iter::FusedIterator;

use bytes::Bytes;

use crate::{BatchError, BatchHeader};

/// The batches in a concatenation of batches, as a fetch returns it. See [`split_batches`].
#[derive(Clone, Debug)]
pub struct Batches {
    remaining: Bytes,
}

/// Splits a concatenation of batches, without copying.
///
/// Each item is the bytes of one batch whose header is well-formed; its CRC is checked when it is decoded. A malformed
/// header or a partial last batch is an error, and ends the iteration.
pub fn split_batches(batches: Bytes) -> Batches {
    Batches { remaining: batches }
}

impl Batches {
    fn split_next(&mut self) -> Result<Bytes, BatchError> {
        let (expected, found) = (BatchHeader::parse(&self.remaining)?.total_size(), self.remaining.len());
        if expected > found {
            return Err(BatchError::Truncated { expected, found });
        }
        Ok(self.remaining.split_to(expected))
    }
}

impl Iterator for Batches {
    type Item = Result<Bytes, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining.is_empty() {
            return None;
        }
        let next = self.split_next();
        if next.is_err() {
            // Where the next batch would start is unknown.
            self.remaining.clear();
        }
        Some(next)
    }
}

impl FusedIterator for Batches {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{BatchBuilder, Compression, ProducerStamp, Record};

    fn batch(value: &'static str) -> Bytes {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(&Record::new(value, 7));
        builder.build(ProducerStamp::NONE).unwrap()
    }

    #[test]
    fn a_concatenation_splits_into_its_batches() {
        let (first, second) = (batch("first"), batch("the second"));
        let both = Bytes::from([&first[..], &second[..]].concat());
        let split: Vec<_> = split_batches(both).collect();
        assert_eq!(split, [Ok(first), Ok(second)]);
        assert_eq!(split_batches(Bytes::new()).next(), None);
    }

    #[test]
    fn a_partial_last_batch_is_an_error_and_the_end() {
        let (first, second) = (batch("first"), batch("the second"));
        for cut in 1..second.len() {
            let partial = Bytes::from([&first[..], &second[..cut]].concat());
            let mut batches = split_batches(partial);
            assert_eq!(batches.next(), Some(Ok(first.clone())));
            assert!(matches!(batches.next(), Some(Err(BatchError::Truncated { found, .. })) if found == cut));
            assert_eq!(batches.next(), None);
        }
    }
}
