//! What must hold for whatever bytes a decoder is given. Each target is a function of its input that panics when a
//! property does not hold.
//!
//! They run in two ways: `cargo +nightly fuzz run <target>` searches as long as it is let, and the test `format` of the
//! engine includes this file by its path and runs all of the corpus and some mutations of it, on stable and within
//! seconds.
//!
//! The first byte of an input is its [`Mode`], so that a mutation can get behind a checksum. A frame's goes on with the
//! salt.

mod batch;
mod checkpoint;
mod frame;
mod index;
mod mode;
mod segment_header;

pub use batch::batch;
pub use checkpoint::checkpoint;
pub use frame::frame;
pub use index::index;
pub use mode::Mode;
pub use segment_header::segment_header;

/// What a target did with its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It decoded, and what was decoded was as it must be.
    Decoded,
    /// It was refused.
    Refused,
}

/// A target as its runners see it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of the fuzz target and of the directory of its corpus.
    pub name: &'static str,
    /// Panics if a property does not hold.
    pub run: fn(&[u8]) -> Outcome,
    /// Position in the input and size, in bytes, of the fields worth an edit.
    pub fields: &'static [(usize, usize)],
}

/// All targets.
pub const TARGETS: [Target; 5] = [
    Target { name: "batch", run: batch, fields: &batch::FIELDS },
    Target { name: "frame", run: frame, fields: &frame::FIELDS },
    Target { name: "index", run: index, fields: &index::FIELDS },
    Target { name: "checkpoint", run: checkpoint, fields: &checkpoint::FIELDS },
    Target { name: "segment_header", run: segment_header, fields: &segment_header::FIELDS },
];

/// Bytes of the counter that a shared buffer gets with its second owner, and some to spare. The one allocation that
/// decoding makes for no byte of its input.
const COUNTER_SIZE: usize = 64;

/// Runs a decoder, which must not hold more than `bytes_max` bytes of new memory at any time.
#[track_caller]
fn bounded<T>(bytes_max: usize, decode: impl FnOnce() -> T) -> T {
    let mut decoded = None;
    let info = allocation_counter::measure(|| decoded = Some(decode()));
    assert!(info.bytes_max <= bytes_max as u64, "at most {bytes_max} bytes may be allocated: {info:?}");
    match decoded {
        Some(decoded) => decoded,
        None => unreachable!("it was just run"),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Makes the last four bytes the checksum of those before.
fn put_checksum(bytes: &mut [u8]) {
    if let Some(at) = bytes.len().checked_sub(4) {
        let checksum = crc32c::crc32c(&bytes[..at]);
        put_u32(bytes, at, checksum);
    }
}
