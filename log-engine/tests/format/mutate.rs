//! Mutations of an input: few, seeded, and the same each time.

use quorate_faulty_vfs::SplitMix64;

use crate::targets::Mode;

/// Integers at the edges of what fields can hold.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

const SIZE_MAX: usize = 1 << 16;

/// A mutation of `input`; `other` is another input of the same target, `fields` are those worth an edit.
pub(crate) fn mutate(random: &mut SplitMix64, input: &[u8], other: &[u8], fields: &[(usize, usize)]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let more = if random.chance(1, 2) { random.below(3) } else { 0 };
    for _ in 0..=more {
        mutate_once(random, &mut bytes, other, fields);
    }
    bytes.truncate(SIZE_MAX);
    if let Some(mode) = bytes.first_mut() {
        // Most must get behind the checksum.
        let repair = if random.chance(7, 8) { Mode::CHECKSUMS } else { 0 };
        let sizes = if random.chance(3, 4) { Mode::SIZES } else { 0 };
        let limits = if random.chance(1, 8) { Mode::SMALL_LIMITS } else { 0 };
        *mode = repair | sizes | limits;
    }
    bytes
}

fn mutate_once(random: &mut SplitMix64, bytes: &mut Vec<u8>, other: &[u8], fields: &[(usize, usize)]) {
    let position = |random: &mut SplitMix64, bytes: &[u8]| random.below(bytes.len() as u64) as usize;
    match random.below(8) {
        0 if !bytes.is_empty() => {
            let at = position(random, bytes);
            bytes[at] ^= 1 << random.below(8);
        }
        1 if !bytes.is_empty() => {
            let at = position(random, bytes);
            bytes[at] = random.next_number() as u8;
        }
        2 => bytes.truncate(random.below(bytes.len() as u64 + 1) as usize),
        3 => {
            // The front of one and the back of the other.
            bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
            bytes.extend_from_slice(&other[random.below(other.len() as u64 + 1) as usize..]);
        }
        4 => {
            // A stretch once more, or some zeros.
            let from = random.below(bytes.len() as u64 + 1) as usize;
            let to = (from + random.below(64) as usize).min(bytes.len());
            let stretch = if random.chance(1, 2) { bytes[from..to].to_vec() } else { vec![0; to - from] };
            bytes.splice(from..from, stretch);
        }
        5 if !bytes.is_empty() => {
            let from = position(random, bytes);
            let to = (from + random.below(32) as usize).min(bytes.len());
            bytes.drain(from..to);
        }
        _ => {
            let (at, size) = fields[random.below(fields.len() as u64) as usize];
            if let Some(field) = bytes.get_mut(at..at + size) {
                put(random, field);
            }
        }
    }
}

/// Puts an integer at an edge into a field, or moves the field's own by a little.
fn put(random: &mut SplitMix64, field: &mut [u8]) {
    let mut value = [0; 8];
    value[..field.len()].copy_from_slice(field);
    let big_endian = random.chance(1, 2);
    if big_endian {
        value[..field.len()].reverse();
    }
    let edge = EDGES[random.below(EDGES.len() as u64) as usize];
    let old = u64::from_le_bytes(value);
    let small = random.below(9).wrapping_sub(4);
    let new = match random.below(3) {
        0 => edge,
        1 => edge.wrapping_add(small),
        _ => old.wrapping_add(small),
    };
    let mut value = new.to_le_bytes();
    if big_endian {
        value[..field.len()].reverse();
    }
    field.copy_from_slice(&value[..field.len()]);
}
