//! The codecs of the records in a batch.

mod lz4;
mod zstd;

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use thiserror::Error;

use crate::{BatchError, BuildError};

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// LZ4 in its frame format, with independent blocks. Cheapest.
    Lz4,
    /// Zstandard. Smallest.
    Zstd,
}

impl Compression {
    /// The name used in configuration and on the command line: `none`, `lz4` or `zstd`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A text is not the name of a codec.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown compression {found:?}: expected none, lz4 or zstd")]
pub struct ParseCompressionError {
    /// The text.
    pub found: String,
}

impl FromStr for Compression {
    type Err = ParseCompressionError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::None, Self::Lz4, Self::Zstd]
            .into_iter()
            .find(|codec| codec.name() == name)
            .ok_or_else(|| ParseCompressionError { found: name.to_owned() })
    }
}

/// Compresses `plain` behind `head_size` zero bytes. `None` if the codec is none, or if it noticed by itself that the
/// result would not be smaller.
pub(crate) fn compress(codec: Compression, plain: &[u8], head_size: usize) -> Result<Option<Vec<u8>>, BuildError> {
    let compressed = match codec {
        Compression::None => return Ok(None),
        Compression::Lz4 => lz4::compress(plain, head_size).map(Some),
        Compression::Zstd => zstd::compress(plain, head_size),
    };
    compressed.map_err(|reason| BuildError::Compress { codec, reason })
}

/// Decompresses `records`, or shares them if the codec is none.
///
/// # Errors
///
/// If they are malformed, or would exceed `size_max` bytes. Memory taken is bounded by `size_max` and by what the codec
/// needs for itself. Bytes that are not compressed take none, so the limit does not concern them.
pub(crate) fn decompress(codec: Compression, records: &Bytes, size_max: usize) -> Result<Bytes, BatchError> {
    let plain = match codec {
        Compression::None => return Ok(records.clone()),
        Compression::Lz4 => lz4::decompress(records, size_max),
        Compression::Zstd => zstd::decompress(records, size_max),
    };
    plain.map(Bytes::from).map_err(|error| match error {
        DecompressError::TooLarge => BatchError::DecompressedTooLarge { codec, size_max },
        DecompressError::Malformed(reason) => BatchError::MalformedCompression { codec, reason },
    })
}

/// Why a codec did not decompress.
#[derive(Clone, Debug, PartialEq, Eq)]
enum DecompressError {
    TooLarge,
    Malformed(String),
}

impl DecompressError {
    fn malformed(reason: impl ToString) -> Self {
        Self::Malformed(reason.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        for codec in [Compression::None, Compression::Lz4, Compression::Zstd] {
            assert_eq!(codec.to_string().parse(), Ok(codec));
        }
        let error = ParseCompressionError { found: "gzip".to_owned() };
        assert_eq!("gzip".parse::<Compression>(), Err(error.clone()));
        assert_eq!(error.to_string(), "unknown compression \"gzip\": expected none, lz4 or zstd");
    }
}
