//! Zstandard: one frame a batch.
//!
//! Format: RFC 8878.

use std::io::{self, Cursor, Read};

use zstd::bulk::{Compressor, Decompressor};
use zstd::stream::read::Decoder;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{find_frame_compressed_size, get_error_name};

use super::DecompressError;

/// First bytes of a frame. The library also takes skippable frames, and the formats of zstd before 0.8: no batch has a
/// reason to use either.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bounds of the window that a frame may ask for, as a power of two: RFC 8878 wants decoders to support 8 MiB, and
/// beyond 128 MiB the library itself refuses.
const WINDOW_LOG_BOUNDS: (u32, u32) = (23, 27);
/// No byte of a frame yields more: a block is of 128 KiB at most, and takes a header of three bytes and one byte more.
const EXPANSION_MAX: u64 = (128 << 10) / 4;

/// Appends one frame to `head_size` zero bytes. `None` if it would not be smaller than `plain`.
pub(super) fn compress(plain: &[u8], head_size: usize) -> Result<Option<Vec<u8>>, String> {
    // The room is the bound: a frame that does not fit is of no use, so there is no need for its greatest size.
    let mut output = Vec::with_capacity(head_size + plain.len());
    output.resize(head_size, 0);
    let mut cursor = Cursor::new(output);
    cursor.set_position(head_size as u64);
    let mut compressor = Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL).map_err(|error| error.to_string())?;
    match compressor.compress_to_buffer(plain, &mut cursor) {
        Ok(_) => {
            let mut output = cursor.into_inner();
            // The batch may wait in a queue for long: it must not hold the memory of what it was before.
            output.shrink_to_fit();
            Ok(Some(output))
        }
        Err(error) if is_output_too_small(&error) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Decompresses exactly one frame.
pub(super) fn decompress(frame: &[u8], size_max: usize) -> Result<Vec<u8>, DecompressError> {
    if !frame.starts_with(&MAGIC) {
        return Err(DecompressError::malformed("it does not begin with a frame"));
    }
    let frame_size =
        find_frame_compressed_size(frame).map_err(|code| DecompressError::malformed(get_error_name(code)))?;
    if frame_size != frame.len() {
        return Err(DecompressError::malformed(format!("{} bytes follow the frame", frame.len() - frame_size)));
    }
    match zstd::decompressed_size(frame) {
        Some(size) if size > size_max as u64 => Err(DecompressError::TooLarge),
        // Before memory is set aside for it: a frame of a few bytes may claim all that the limit allows.
        Some(size) if size > frame.len() as u64 * EXPANSION_MAX => {
            Err(DecompressError::malformed(format!("{} bytes cannot hold the {size} they claim", frame.len())))
        }
        Some(size) => decompress_known(frame, size as usize),
        None => decompress_unknown(frame, size_max),
    }
}

/// A frame that states its size, as ours do: one allocation, and no window besides it.
fn decompress_known(frame: &[u8], size: usize) -> Result<Vec<u8>, DecompressError> {
    let mut plain = Vec::with_capacity(size);
    let mut decompressor = Decompressor::new().map_err(DecompressError::malformed)?;
    decompressor.decompress_to_buffer(frame, &mut plain).map_err(DecompressError::malformed)?;
    Ok(plain)
}

/// A frame of unknown size, as streaming producers write them: the output grows with what actually comes.
fn decompress_unknown(frame: &[u8], size_max: usize) -> Result<Vec<u8>, DecompressError> {
    let (window_log_min, window_log_max) = WINDOW_LOG_BOUNDS;
    let wanted = size_max.checked_next_power_of_two().map_or(window_log_max, usize::ilog2);
    let mut decoder = Decoder::with_buffer(frame).map_err(DecompressError::malformed)?;
    decoder.window_log_max(wanted.clamp(window_log_min, window_log_max)).map_err(DecompressError::malformed)?;
    let mut plain = Vec::new();
    // One byte more than allowed tells a frame that is too large from one that just fits.
    let bounded = (size_max as u64).saturating_add(1);
    decoder.take(bounded).read_to_end(&mut plain).map_err(DecompressError::malformed)?;
    if plain.len() > size_max {
        return Err(DecompressError::TooLarge);
    }
    Ok(plain)
}

fn is_output_too_small(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|source| source.downcast_ref::<zstd::Error>());
    error.is_some_and(|error| error.is(ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::io::Write;

    use zstd::stream::write::Encoder;

    use super::*;

    fn text(size: usize) -> Vec<u8> {
        b"all work and no play ".iter().copied().cycle().take(size).collect()
    }

    fn streamed(plain: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), 3).unwrap();
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn frames_with_and_without_their_size_are_read() {
        let plain = text(700_000);
        let stated = compress(&plain, 0).unwrap().unwrap();
        assert_eq!(zstd::decompressed_size(&stated), Some(plain.len() as u64));
        assert_eq!(decompress(&stated, plain.len()).unwrap(), plain);
        let unstated = streamed(&plain);
        assert_eq!(zstd::decompressed_size(&unstated), None);
        assert_eq!(decompress(&unstated, plain.len()).unwrap(), plain);
    }

    #[test]
    fn a_frame_by_hand_is_read() {
        // Magic; single segment with a size of one byte: 3; a last, raw block of 3 bytes.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 3, 0x19, 0, 0, b'a', b'b', b'c'];
        assert_eq!(decompress(&frame, 3).unwrap(), b"abc");
        assert_eq!(decompress(&frame, 2), Err(DecompressError::TooLarge));
        for cut in 0..frame.len() {
            assert!(matches!(decompress(&frame[..cut], 3), Err(DecompressError::Malformed(_))), "cut at {cut}");
        }
    }

    #[test]
    fn the_limit_holds_to_the_byte() {
        let plain = vec![0; 1_000_000];
        for frame in [compress(&plain, 0).unwrap().unwrap(), streamed(&plain)] {
            assert!(frame.len() < 1000);
            assert_eq!(decompress(&frame, plain.len()).unwrap(), plain);
            for size_max in [plain.len() - 1, 65_536, 1, 0] {
                assert_eq!(decompress(&frame, size_max), Err(DecompressError::TooLarge), "{size_max}");
            }
        }
    }

    #[test]
    fn a_frame_that_claims_more_than_its_blocks_can_hold_is_refused() {
        // Magic; single segment with a size of four bytes; two blocks of 128 KiB that repeat one byte, the densest.
        let frame = |size: u32| {
            let blocks = [0x02, 0x00, 0x10, b'a', 0x03, 0x00, 0x10, b'a'];
            [&[0x28, 0xb5, 0x2f, 0xfd, 0xa0][..], &size.to_le_bytes(), &blocks].concat()
        };
        let size = 2 * (128 << 10);
        assert_eq!(decompress(&frame(size), size as usize).unwrap(), vec![b'a'; size as usize]);
        let possible = frame(0).len() as u32 * EXPANSION_MAX as u32;
        let refusal = |size| match decompress(&frame(size), 1 << 30) {
            Err(DecompressError::Malformed(reason)) => reason,
            other => panic!("expected a malformed frame, got {other:?}"),
        };
        assert!(!refusal(possible).contains("cannot hold"));
        assert!(refusal(possible + 1).contains("cannot hold"));
    }

    #[test]
    fn a_frame_that_asks_for_a_huge_window_is_refused() {
        // Magic; no size, window of 2^41 bytes; a last, raw block of nothing.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0, 0];
        assert!(matches!(decompress(&frame, 1000), Err(DecompressError::Malformed(_))));
        // The same with a window of 2^27: allowed only where that much output is.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0, 0];
        assert!(matches!(decompress(&frame, 1 << 20), Err(DecompressError::Malformed(_))));
        assert_eq!(decompress(&frame, 1 << 27).unwrap(), b"");
    }

    #[test]
    fn skippable_and_second_frames_are_refused() {
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
        assert!(matches!(decompress(&skippable, 1000), Err(DecompressError::Malformed(_))));
        let one = compress(&text(100), 0).unwrap().unwrap();
        let two = [&one[..], &one[..]].concat();
        assert!(matches!(decompress(&two, 1000), Err(DecompressError::Malformed(reason)) if reason.contains("follow")));
    }

    #[test]
    fn what_does_not_get_smaller_is_left_alone() {
        assert_eq!(compress(b"short", 61), Ok(None));
    }
}
