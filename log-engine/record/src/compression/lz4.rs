//! LZ4 in its frame format, with independent blocks (Kafka's Java client refuses linked ones too).
//!
//! Frames are written by `lz4_flex` but taken apart here, because its frame decoder allocates by the block size that
//! the frame claims (4 MiB and more for a batch of a hundred bytes), takes a frame without an end for a whole one, and
//! can panic on frames with linked blocks. Blocks, the compression proper, are decompressed by `lz4_flex`.
//!
//! The checksums of the frame are skipped: the CRC of the batch has covered every byte of it.
//!
//! Format: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>

use std::io::Write;

use bytes::Buf;
use lz4_flex::block::{DecompressError as BlockError, decompress_into};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::DecompressError;

const MAGIC: u32 = 0x184d_2204;
const FLAG_VERSION_MASK: u8 = 0b1100_0000;
const FLAG_VERSION_1: u8 = 0b0100_0000;
const FLAG_INDEPENDENT_BLOCKS: u8 = 0b0010_0000;
const FLAG_BLOCK_CHECKSUMS: u8 = 0b0001_0000;
const FLAG_CONTENT_SIZE: u8 = 0b0000_1000;
const FLAG_CONTENT_CHECKSUM: u8 = 0b0000_0100;
const FLAG_DICTIONARY: u8 = 0b0000_0001;
const BLOCK_IS_PLAIN: u32 = 1 << 31;
const CHECKSUM_SIZE: usize = 4;
/// No sequence of a block yields more: a byte of a match's length adds at most 255 bytes.
const EXPANSION_MAX: usize = 255;

/// Appends one frame to `head_size` zero bytes.
pub(super) fn compress(plain: &[u8], head_size: usize) -> Result<Vec<u8>, String> {
    let mut output = Vec::with_capacity(head_size + plain.len() / 2);
    output.resize(head_size, 0);
    // Blocks of 64 KiB, as Kafka's clients write them: who reads the frame needs no more memory than that at once.
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, output);
    encoder.write_all(plain).map_err(|error| error.to_string())?;
    encoder.finish().map_err(|error| error.to_string())
}

/// Decompresses exactly one frame.
pub(super) fn decompress(mut frame: &[u8], size_max: usize) -> Result<Vec<u8>, DecompressError> {
    let descriptor = Descriptor::read(&mut frame)?;
    let mut plain = Vec::new();
    loop {
        let block_header = read_u32(&mut frame, "block header")?;
        if block_header == 0 {
            break;
        }
        let block_size = (block_header & !BLOCK_IS_PLAIN) as usize;
        if block_size > descriptor.block_size_max {
            return Err(DecompressError::malformed(format!("a block of {block_size} bytes exceeds the maximum")));
        }
        let block = take(&mut frame, block_size, "block")?;
        let room = size_max - plain.len();
        if block_header & BLOCK_IS_PLAIN != 0 {
            if block.len() > room {
                return Err(DecompressError::TooLarge);
            }
            plain.extend_from_slice(block);
        } else {
            decompress_block(block, descriptor.block_size_max, room, &mut plain)?;
        }
        if descriptor.has_block_checksums {
            take(&mut frame, CHECKSUM_SIZE, "block checksum")?;
        }
    }
    if descriptor.has_content_checksum {
        take(&mut frame, CHECKSUM_SIZE, "content checksum")?;
    }
    if !frame.is_empty() {
        return Err(DecompressError::malformed(format!("{} bytes follow the frame", frame.len())));
    }
    Ok(plain)
}

/// Appends the bytes of one compressed block to `plain`; they may be at most `room`.
fn decompress_block(
    block: &[u8],
    block_size_max: usize,
    room: usize,
    plain: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    let start = plain.len();
    let possible = block_size_max.min(block.len().saturating_mul(EXPANSION_MAX));
    plain.resize(start + possible.min(room), 0);
    match decompress_into(block, &mut plain[start..]) {
        Ok(size) => {
            plain.truncate(start + size);
            Ok(())
        }
        Err(BlockError::OutputTooSmall { .. }) if room < possible => Err(DecompressError::TooLarge),
        Err(error) => Err(DecompressError::malformed(error)),
    }
}

/// What the head of a frame says.
struct Descriptor {
    /// Greatest size of a block, both compressed and decompressed, in bytes.
    block_size_max: usize,
    has_block_checksums: bool,
    has_content_checksum: bool,
}

impl Descriptor {
    fn read(frame: &mut &[u8]) -> Result<Self, DecompressError> {
        let magic = read_u32(frame, "magic number")?;
        if magic != MAGIC {
            return Err(DecompressError::malformed(format!("expected magic {MAGIC:#010x}, found {magic:#010x}")));
        }
        let mut bytes = take(frame, 2, "frame descriptor")?;
        let (flags, block_descriptor) = (bytes.get_u8(), bytes.get_u8());
        if flags & FLAG_VERSION_MASK != FLAG_VERSION_1 {
            return Err(DecompressError::malformed("unknown version of the frame format"));
        }
        if flags & FLAG_INDEPENDENT_BLOCKS == 0 {
            return Err(DecompressError::malformed("linked blocks are not supported"));
        }
        if flags & FLAG_DICTIONARY != 0 {
            return Err(DecompressError::malformed("dictionaries are not supported"));
        }
        let block_size_max = match (block_descriptor >> 4) & 0b111 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            code => return Err(DecompressError::malformed(format!("unknown block size code {code}"))),
        };
        if flags & FLAG_CONTENT_SIZE != 0 {
            // Nothing to gain from it: blocks are bounded by themselves, and it may lie.
            take(frame, size_of::<u64>(), "content size")?;
        }
        take(frame, 1, "header checksum")?;
        Ok(Self {
            block_size_max,
            has_block_checksums: flags & FLAG_BLOCK_CHECKSUMS != 0,
            has_content_checksum: flags & FLAG_CONTENT_CHECKSUM != 0,
        })
    }
}

fn take<'a>(frame: &mut &'a [u8], size: usize, field: &str) -> Result<&'a [u8], DecompressError> {
    frame.split_off(..size).ok_or_else(|| DecompressError::malformed(format!("the frame ends within the {field}")))
}

fn read_u32(frame: &mut &[u8], field: &str) -> Result<u32, DecompressError> {
    take(frame, size_of::<u32>(), field).map(|mut bytes| bytes.get_u32_le())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::io::Read;

    use lz4_flex::frame::FrameDecoder;

    use super::*;

    fn text(size: usize) -> Vec<u8> {
        b"all work and no play ".iter().copied().cycle().take(size).collect()
    }

    fn frame(info: FrameInfo, plain: &[u8]) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn frames_of_every_kind_of_independent_blocks_are_read() {
        let plain = text(700_000);
        for block_size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            for checksums in [false, true] {
                let info = FrameInfo::new()
                    .block_size(block_size)
                    .block_checksums(checksums)
                    .content_checksum(checksums)
                    .content_size(checksums.then_some(plain.len() as u64));
                assert_eq!(decompress(&frame(info, &plain), plain.len()).unwrap(), plain);
            }
        }
    }

    #[test]
    fn others_can_read_our_frames() {
        let plain = text(200_000);
        let compressed = compress(&plain, 3).unwrap();
        // FLG: version 1, independent blocks. BD: 64 KiB. The header checksum that all of Kafka's clients write.
        assert_eq!(compressed[..10], [0, 0, 0, 0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
        let mut read = Vec::new();
        FrameDecoder::new(&compressed[3..]).read_to_end(&mut read).unwrap();
        assert_eq!(read, plain);
    }

    #[test]
    fn a_frame_by_hand_is_read() {
        // One plain block "abc", then one of a literal "z" repeated by a match of length 8 at distance 1, and "end!!".
        let mut bytes = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
        bytes.extend_from_slice(&[3, 0, 0, 0x80, b'a', b'b', b'c']);
        bytes.extend_from_slice(&[10, 0, 0, 0, 0x14, b'z', 1, 0, 0x50, b'e', b'n', b'd', b'!', b'!']);
        bytes.extend_from_slice(&[0, 0, 0, 0]);
        assert_eq!(decompress(&bytes, 17).unwrap(), b"abczzzzzzzzzend!!");
        assert_eq!(decompress(&bytes, 16), Err(DecompressError::TooLarge));
        assert_eq!(decompress(&bytes, 2), Err(DecompressError::TooLarge));
        for cut in 0..bytes.len() {
            assert!(matches!(decompress(&bytes[..cut], 17), Err(DecompressError::Malformed(_))), "cut at {cut}");
        }
    }

    #[test]
    fn the_limit_holds_to_the_byte() {
        let plain = vec![0; 1_000_000];
        let compressed = compress(&plain, 0).unwrap();
        assert!(compressed.len() < 10_000);
        assert_eq!(decompress(&compressed, plain.len()).unwrap(), plain);
        for size_max in [plain.len() - 1, 65_536, 1, 0] {
            assert_eq!(decompress(&compressed, size_max), Err(DecompressError::TooLarge), "{size_max}");
        }
    }

    #[test]
    fn linked_blocks_and_second_frames_are_refused() {
        let linked = frame(FrameInfo::new().block_mode(BlockMode::Linked), &text(100));
        assert!(
            matches!(decompress(&linked, 1000), Err(DecompressError::Malformed(reason)) if reason.contains("linked"))
        );
        let one = compress(&text(100), 0).unwrap();
        let two = [&one[..], &one[..]].concat();
        assert!(matches!(decompress(&two, 1000), Err(DecompressError::Malformed(reason)) if reason.contains("follow")));
    }
}
