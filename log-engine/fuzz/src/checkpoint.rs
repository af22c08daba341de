use bytes::Bytes;
use quorate_log_engine::{Checkpoint, CheckpointError};

use super::{COUNTER_SIZE, Mode, Outcome, bounded, put_checksum, put_u32, u32_at};

const HEAD_SIZE: usize = 32;

/// Those of the head, and of the first parts behind it.
pub(crate) const FIELDS: [(usize, usize); 12] =
    [(5, 1), (9, 8), (17, 4), (21, 4), (25, 4), (29, 4), (33, 8), (41, 8), (49, 8), (57, 8), (65, 8), (73, 8)];

/// Decoding a checkpoint takes no more memory than the checkpoint has bytes, and a counter: all of it is proven by its
/// size, and the state is not copied. It is encoded again to the same bytes but for the reserved ones.
pub fn checkpoint(data: &[u8]) -> Outcome {
    let Some((mode, bytes)) = Mode::split(data) else { return Outcome::Refused };
    let mut bytes = bytes.to_vec();
    if mode.has(Mode::SIZES) {
        put_sizes(&mut bytes);
    }
    if mode.has(Mode::CHECKSUMS) {
        put_checksum(&mut bytes);
    }
    let bytes = Bytes::from(bytes);
    let decoded = bounded(bytes.len() + COUNTER_SIZE, || Checkpoint::decode(&bytes));
    let checkpoint = match decoded {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            let other = bytes.len() > 4 && bytes.starts_with(b"QCKP") && bytes[4] != 1;
            assert_eq!(other, matches!(error, CheckpointError::Format(_)), "{error:?}");
            return Outcome::Refused;
        }
    };
    let Checkpoint { segment, terms, segments, state, .. } = &checkpoint;
    assert_eq!(HEAD_SIZE + 16 * terms.len() + 48 * segments.len() + state.len() + 4, bytes.len());
    assert!(terms.is_sorted_by(|a, b| a.term < b.term && a.index < b.index));
    assert!(segments.is_sorted_by(|a, b| a.number < b.number && a.base_index <= b.base_index));
    assert!(segments.iter().all(|before| before.number < *segment), "the segments are before the checkpoint");
    let mut canonical = bytes.to_vec();
    canonical[5..8].fill(0);
    put_checksum(&mut canonical);
    let Some(encoded) = checkpoint.encode() else { panic!("what fits into memory fits into a file") };
    assert_eq!(encoded[..], canonical[..]);
    assert_eq!(Checkpoint::decode(&encoded.freeze()), Ok(checkpoint));
    Outcome::Decoded
}

/// Makes as many terms and segments as there is room for, and all that is left the state.
fn put_sizes(bytes: &mut [u8]) {
    let Some(room) = bytes.len().checked_sub(HEAD_SIZE + 4) else { return };
    let terms = (u32_at(bytes, 20) as usize).min(room / 16);
    let room = room - 16 * terms;
    let segments = (u32_at(bytes, 24) as usize).min(room / 48);
    put_u32(bytes, 20, terms as u32);
    put_u32(bytes, 24, segments as u32);
    put_u32(bytes, 28, (room - 48 * segments) as u32);
}
