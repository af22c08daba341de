//! The only place that encodes and decodes with bincode.
//!
//! Decoding works on slices whose size the framing has already bounded, so that a length prefix can never ask for
//! more memory than the message itself holds.

use bincode::Options;
use serde::{Serialize, de::DeserializeOwned};

/// A message that could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
#[error("malformed message: {0}")]
pub struct CodecError(#[from] bincode::Error);

fn options() -> impl Options {
    bincode::options().with_fixint_encoding().with_little_endian().reject_trailing_bytes()
}

/// Encodes a value: little-endian, fixed-width integers.
///
/// # Errors
/// Fails only for values that bincode cannot represent.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    Ok(options().serialize(value)?)
}

/// Decodes a value that must fill `bytes` exactly. Allocates at most in proportion to `bytes`.
///
/// # Errors
/// Fails when the bytes are not exactly one value of this type.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    Ok(options().with_limit(bytes.len() as u64).deserialize(bytes)?)
}
