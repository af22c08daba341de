//! What a frame's checks can find.

use crate::FrameKind;

/// What is wrong with bytes that should be a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than the frame needs.
    #[error("cut short: {found} of {expected} bytes")]
    Short {
        /// Bytes needed.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// No frame starts here.
    #[error("not a frame (magic {0:#06x})")]
    Magic(u16),
    /// Another format.
    #[error("format {0} is not supported")]
    Format(u8),
    /// A kind this build does not know.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// The header does not match its checksum.
    #[error("header checksum {found:#010x}, computed {computed:#010x}")]
    HeaderChecksum {
        /// As stored.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// The payload does not match its checksum.
    #[error("the payload does not match its checksum")]
    PayloadChecksum,
    /// The payload is longer than allowed.
    #[error("payload of {found} bytes, at most {max} allowed")]
    TooLong {
        /// Bytes claimed.
        found: u64,
        /// The bound.
        max: u64,
    },
    /// The previous frame is another one.
    #[error("the checksum chain is broken")]
    Chain,
    /// The log index is not the next one.
    #[error("log index {found}, expected {expected}")]
    Index {
        /// The next one.
        expected: u64,
        /// As stored.
        found: u64,
    },
    /// A frame of this kind does not hold what it must.
    #[error("malformed payload of a {0:?} frame")]
    Payload(FrameKind),
}
