//! Values that tell who sent them. No two records have the same.

use std::fmt::{self, Display};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Bytes every value is filled up to, and one in so many: segments are to be finished within seconds.
const VALUE_BYTES: usize = 100;
const LONG_VALUE_BYTES: usize = 4_000;
const LONG_ONCE_IN: u64 = 8;

/// Whose record it is, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(u32, u64)", into = "(u32, u64)")]
pub struct Value {
    /// The producer.
    pub process: u32,
    /// Its number among all records of that producer, ascending in the order of its sends.
    pub number: u64,
}

impl Value {
    /// The record's bytes: all of them follow from the value.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mut text = format!("{} {} ", self.process, self.number);
        let size = if self.number.is_multiple_of(LONG_ONCE_IN) { LONG_VALUE_BYTES } else { VALUE_BYTES };
        while text.len() < size {
            text.push(char::from(b'a' + ((self.number + text.len() as u64) % 26) as u8));
        }
        text.into()
    }

    /// The value of these bytes; `None` if a byte of them is not as [`encode`](Self::encode) makes it.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(bytes).ok()?.split(' ');
        let value = Self { process: parts.next()?.parse().ok()?, number: parts.next()?.parse().ok()? };
        (value.encode() == bytes).then_some(value)
    }
}

impl Value {
    /// Its two numbers alone.
    #[must_use]
    pub fn encode_short(self) -> Bytes {
        format!("{} {}", self.process, self.number).into()
    }

    /// The value of these bytes.
    #[must_use]
    pub fn decode_short(bytes: &[u8]) -> Option<Self> {
        let (process, number) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
        Some(Self { process: process.parse().ok()?, number: number.parse().ok()? })
    }
}

impl From<(u32, u64)> for Value {
    fn from((process, number): (u32, u64)) -> Self {
        Self { process, number }
    }
}

impl From<Value> for (u32, u64) {
    fn from(value: Value) -> Self {
        (value.process, value.number)
    }
}

impl Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "record {} of process {}", self.number, self.process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_and_an_altered_one_does_not() {
        let value = Value { process: 3, number: 70_001 };
        let bytes = value.encode();
        assert_eq!(Value::decode(&bytes), Some(value));
        for at in 0..bytes.len() {
            let mut altered = bytes.to_vec();
            altered[at] ^= 1;
            assert_ne!(Value::decode(&altered), Some(value), "byte {at}");
        }
        assert_eq!(Value::decode(&bytes[..50]), None);
    }
}
