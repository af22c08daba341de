//! The payloads of a partition's own entries: trims and expiries of producers. Little-endian.
//!
//! ```text
//! trim:    0  offset u64: records before it are deleted
//! expiry:  0  producers u32   4  each: producer id i64, log index of its last batch u64
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_cluster_config::limits::PRODUCERS_PER_PARTITION_MAX;

use crate::codec::{DecodeError, end, need};

/// A producer that the leader found idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleProducer {
    /// The producer.
    pub producer_id: i64,
    /// The log index of its last batch then: if it has written since, it stays.
    pub last_index: u64,
}

pub(crate) fn encode_trim(before: u64) -> Bytes {
    Bytes::copy_from_slice(&before.to_le_bytes())
}

pub(crate) fn decode_trim(mut payload: Bytes) -> Result<u64, DecodeError> {
    need(&payload, 8)?;
    let before = payload.get_u64_le();
    end(&payload, "trim")?;
    Ok(before)
}

pub(crate) fn encode_expiry(idle: &[IdleProducer]) -> Bytes {
    let mut buffer = BytesMut::with_capacity(4 + idle.len() * 16);
    buffer.put_u32_le(idle.len() as u32);
    for IdleProducer { producer_id, last_index } in idle {
        buffer.put_i64_le(*producer_id);
        buffer.put_u64_le(*last_index);
    }
    buffer.freeze()
}

pub(crate) fn decode_expiry(mut payload: Bytes) -> Result<Vec<IdleProducer>, DecodeError> {
    need(&payload, 4)?;
    let count = payload.get_u32_le() as usize;
    if count > PRODUCERS_PER_PARTITION_MAX {
        return Err(DecodeError::Malformed("producer expiry"));
    }
    need(&payload, count * 16)?;
    let idle = (0..count)
        .map(|_| IdleProducer { producer_id: payload.get_i64_le(), last_index: payload.get_u64_le() })
        .collect();
    end(&payload, "producer expiry")?;
    Ok(idle)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let idle = [(3, 4), (-1, u64::MAX)].map(|(producer_id, last_index)| IdleProducer { producer_id, last_index });
        assert_eq!(decode_expiry(encode_expiry(&idle)).unwrap(), idle);
        assert_eq!(decode_trim(encode_trim(77)).unwrap(), 77);
    }

    #[test]
    fn cuts_tails_and_counts_that_are_too_large_are_refused() {
        let idle = encode_expiry(&[IdleProducer { producer_id: 1, last_index: 2 }]);
        let longer = Bytes::from([&idle[..], &[0]].concat());
        let mut huge = idle.to_vec();
        huge[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        for malformed in [Bytes::new(), idle.slice(..19), longer, huge.into()] {
            assert!(decode_expiry(malformed).is_err());
        }
        assert!(decode_trim(Bytes::from_static(b"1234567")).is_err());
        assert!(decode_trim(Bytes::from_static(b"123456789")).is_err());
    }
}
