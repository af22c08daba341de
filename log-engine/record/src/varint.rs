//! Variable-length integers: zigzag, then base 128 with the lowest seven bits first, as in Protocol Buffers.

use bytes::BufMut;

/// Greatest size of a 32-bit integer, in bytes.
const VARINT_SIZE_MAX: usize = 5;
/// Greatest size of a 64-bit integer, in bytes.
const VARLONG_SIZE_MAX: usize = 10;

/// Why a variable-length integer could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VarintError {
    /// The bytes end before it does.
    Truncated,
    /// It does not fit its type.
    TooLong,
}

/// Size of `value` in bytes, 1 to 10.
pub(crate) fn size(value: i64) -> usize {
    let significant_bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    significant_bits.div_ceil(7)
}

/// Writes `value`. Within 32 bits the bytes of a varint and of a varlong are the same.
pub(crate) fn put(buffer: &mut impl BufMut, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        buffer.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    buffer.put_u8(rest as u8);
}

/// Reads a 64-bit integer from the start of `bytes`; returns it and its size in bytes.
pub(crate) fn read_varlong(bytes: &[u8]) -> Result<(i64, usize), VarintError> {
    let (raw, size) = read(bytes, VARLONG_SIZE_MAX)?;
    Ok(((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed(), size))
}

/// Reads a 32-bit integer from the start of `bytes`; returns it and its size in bytes.
pub(crate) fn read_varint(bytes: &[u8]) -> Result<(i32, usize), VarintError> {
    let (raw, size) = read(bytes, VARINT_SIZE_MAX)?;
    let raw = u32::try_from(raw).map_err(|_| VarintError::TooLong)?;
    Ok(((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed(), size))
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Reads up to `size_max` bytes; of the tenth, which would be bits 63 to 69, only bit 63 exists.
fn read(bytes: &[u8], size_max: usize) -> Result<(u64, usize), VarintError> {
    let mut raw = 0;
    for (index, &byte) in bytes.iter().take(size_max).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == VARLONG_SIZE_MAX - 1 && bits > 1 {
            return Err(VarintError::TooLong);
        }
        raw |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((raw, index + 1));
        }
    }
    Err(if bytes.len() < size_max { VarintError::Truncated } else { VarintError::TooLong })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(value: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, value);
        bytes
    }

    #[test]
    fn known_values_have_their_known_bytes() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (300, &[0xd8, 0x04]),
            (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            assert_eq!(encoded(value), bytes, "{value}");
            assert_eq!(read_varlong(bytes), Ok((value, bytes.len())), "{value}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(read_varint(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(VarintError::TooLong));
        assert_eq!(read_varint(&[0x80; 5]), Err(VarintError::TooLong));
        assert_eq!(read_varint(&[0x80; 4]), Err(VarintError::Truncated));
        assert_eq!(read_varlong(&encoded(i64::MIN)[..9]), Err(VarintError::Truncated));
        let mut too_long = [0xff; 10];
        too_long[9] = 0x02;
        assert_eq!(read_varlong(&too_long), Err(VarintError::TooLong));
        assert_eq!(read_varint(&[]), Err(VarintError::Truncated));
    }

    proptest! {
        #[test]
        fn every_integer_round_trips(value: i64, narrow: i32) {
            for value in [value, i64::from(narrow), value >> 40] {
                let bytes = encoded(value);
                prop_assert_eq!(bytes.len(), size(value));
                prop_assert_eq!(read_varlong(&bytes), Ok((value, bytes.len())));
            }
            let bytes = encoded(i64::from(narrow));
            prop_assert_eq!(read_varint(&bytes), Ok((narrow, bytes.len())));
        }
    }
}
