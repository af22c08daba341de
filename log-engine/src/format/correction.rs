//! Giving bytes the CRC that they must have, by 32 bits of them that mean nothing.
//!
//! A CRC is affine over GF(2): flipping a bit of the input flips the same bits of the checksum, whatever the other bits
//! are. And since no burst of at most 32 bits goes unnoticed by a CRC of 32 bits, the 32 differences that the bits of one
//! field make are independent: every checksum is reached by exactly one value of the field. It is found by Gaussian
//! elimination. (Stigge, Plötz, Müller and Redlich, "Reversing CRC – Theory and Practice", 2006, do the same by running
//! the register backwards.)
//!
//! This is no forgery of what is checked: whoever uses it has checked the rest of the bytes by other means.

/// The value of a 32-bit field with which `checksum`, which is told that value, comes out as `wanted`.
pub(super) fn correction(wanted: u32, checksum: impl Fn(u32) -> u32) -> u32 {
    let zero = checksum(0);
    // At each place a difference whose highest bit is there, and the bits of the field that make it.
    let mut basis = [(0_u32, 0_u32); 32];
    for bit in 0..32 {
        let mut field = 1 << bit;
        let mut difference = checksum(field) ^ zero;
        while difference != 0 {
            let (other, other_field) = &mut basis[difference.ilog2() as usize];
            if *other == 0 {
                (*other, *other_field) = (difference, field);
                break;
            }
            difference ^= *other;
            field ^= *other_field;
        }
    }
    let (mut difference, mut field) = (wanted ^ zero, 0);
    while difference != 0 {
        let (other, other_field) = basis[difference.ilog2() as usize];
        assert_ne!(other, 0, "a CRC notices every burst of 32 bits");
        difference ^= other;
        field ^= other_field;
    }
    field
}

#[cfg(test)]
mod tests {
    use super::correction;

    /// A checksum over a field among other bytes, `before` and `behind` it.
    fn around(before: usize, behind: usize, field: u32) -> u32 {
        let mut bytes: Vec<u8> = (0..before).map(|at| at as u8 ^ 0x5a).collect();
        bytes.extend(field.to_le_bytes());
        bytes.extend((0..behind).map(|at| at as u8));
        crc32c::crc32c_append(0x1234_5678, &bytes)
    }

    #[test]
    fn every_checksum_is_reached_wherever_the_field_lies() {
        for (before, behind) in [(0, 0), (64, 16), (64, 77), (3, 1_000)] {
            for wanted in [0, 1, 0x8000_0000, 0xdead_beef, u32::MAX] {
                let field = correction(wanted, |field| around(before, behind, field));
                assert_eq!(around(before, behind, field), wanted);
            }
        }
    }

    #[test]
    fn what_has_the_checksum_already_is_not_changed() {
        let found = around(64, 77, 0);
        assert_eq!(correction(found, |field| around(64, 77, field)), 0);
        let found = around(64, 77, 99);
        assert_eq!(correction(found, |field| around(64, 77, field)), 99);
    }
}
