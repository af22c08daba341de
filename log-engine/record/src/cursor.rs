use bytes::{Buf, Bytes};

use crate::RecordError;
use crate::varint::{self, VarintError};

/// Length that stands for null.
const NULL: i32 = -1;

/// Reads the fields of records, front to back, as slices of one buffer.
///
/// Every length is checked against what remains before it is used. Each method takes the name of the field, for errors.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    remaining: Bytes,
}

impl Cursor {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { remaining: bytes }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.remaining.len()
    }

    pub(crate) fn byte(&mut self, field: &'static str) -> Result<u8, RecordError> {
        self.remaining.try_get_u8().map_err(|_| RecordError::Truncated { field })
    }

    pub(crate) fn varint(&mut self, field: &'static str) -> Result<i32, RecordError> {
        let (value, size) = varint::read_varint(&self.remaining).map_err(|error| named(error, field, i32::BITS))?;
        self.remaining.advance(size);
        Ok(value)
    }

    pub(crate) fn varlong(&mut self, field: &'static str) -> Result<i64, RecordError> {
        let (value, size) = varint::read_varlong(&self.remaining).map_err(|error| named(error, field, i64::BITS))?;
        self.remaining.advance(size);
        Ok(value)
    }

    /// A count of elements that take at least `element_size_min` bytes each.
    pub(crate) fn count(&mut self, field: &'static str, element_size_min: usize) -> Result<usize, RecordError> {
        let found = self.varint(field)?;
        self.checked(field, found, element_size_min)
    }

    /// A length and as many bytes.
    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<Bytes, RecordError> {
        let length = self.count(field, 1)?;
        Ok(self.remaining.split_to(length))
    }

    /// A length and as many bytes, or the length that stands for null.
    pub(crate) fn nullable_bytes(&mut self, field: &'static str) -> Result<Option<Bytes>, RecordError> {
        let found = self.varint(field)?;
        if found == NULL {
            return Ok(None);
        }
        let length = self.checked(field, found, 1)?;
        Ok(Some(self.remaining.split_to(length)))
    }

    fn checked(&self, field: &'static str, found: i32, element_size_min: usize) -> Result<usize, RecordError> {
        let remaining = self.remaining();
        match usize::try_from(found) {
            Ok(count) if count <= remaining / element_size_min => Ok(count),
            _ => Err(RecordError::InvalidLength { field, found, remaining }),
        }
    }
}

fn named(error: VarintError, field: &'static str, bits: u32) -> RecordError {
    match error {
        VarintError::Truncated => RecordError::Truncated { field },
        VarintError::TooLong => RecordError::VarintTooLong { field, bits },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(bytes: &'static [u8]) -> Cursor {
        Cursor::new(Bytes::from_static(bytes))
    }

    #[test]
    fn null_and_empty_differ() {
        assert_eq!(cursor(&[0x01]).nullable_bytes("key"), Ok(None));
        assert_eq!(cursor(&[0x00]).nullable_bytes("key"), Ok(Some(Bytes::new())));
        let negative = RecordError::InvalidLength { field: "key", found: -1, remaining: 0 };
        assert_eq!(cursor(&[0x01]).bytes("key"), Err(negative));
    }

    #[test]
    fn lengths_are_held_against_what_remains() {
        assert_eq!(cursor(&[0x04, 7, 8]).bytes("value"), Ok(Bytes::from_static(&[7, 8])));
        let invalid = |found, remaining| RecordError::InvalidLength { field: "value", found, remaining };
        assert_eq!(cursor(&[0x06, 7, 8]).bytes("value"), Err(invalid(3, 2)));
        assert_eq!(cursor(&[0x03]).nullable_bytes("value"), Err(invalid(-2, 0)));
        assert_eq!(cursor(&[0x04, 7, 8, 9]).count("value", 2), Err(invalid(2, 3)));
        assert_eq!(cursor(&[0xfe, 0xff, 0xff, 0xff, 0x0f]).bytes("value"), Err(invalid(i32::MAX, 0)));
        assert_eq!(cursor(&[]).byte("attributes"), Err(RecordError::Truncated { field: "attributes" }));
    }
}
