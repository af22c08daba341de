//! The only place that encodes and decodes with bincode.
//!
//! Decoding works on slices whose size the framing has already bounded, so that a length prefix can never ask for
//! more memory than the message itself holds.

use std::{io, pin::Pin};

use bincode::Options;
use bytes::{Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tarpc::{
    serde_transport::{self, Transport},
    tokio_serde::{Deserializer, Serializer},
    tokio_util::codec::length_delimited::LengthDelimitedCodec,
};
use tokio::io::{AsyncRead, AsyncWrite};

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

/// [`encode`] and [`decode`] as the codec of a tarpc transport.
#[derive(Clone, Copy, Debug, Default)]
pub struct BoundedBincode;

impl<T: Serialize> Serializer<T> for BoundedBincode {
    type Error = io::Error;

    fn serialize(self: Pin<&mut Self>, item: &T) -> Result<Bytes, io::Error> {
        encode(item).map(Bytes::from).map_err(io::Error::other)
    }
}

impl<T: DeserializeOwned> Deserializer<T> for BoundedBincode {
    type Error = io::Error;

    fn deserialize(self: Pin<&mut Self>, src: &BytesMut) -> Result<T, io::Error> {
        decode(src).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

/// A tarpc transport between nodes, over a byte stream on which the handshake is done. Messages larger than
/// `frame_bytes_max` bytes are refused on both ways. Between clients and nodes there is [`crate::ClientTransport`].
pub fn transport<S, Item, SinkItem>(stream: S, frame_bytes_max: usize) -> Transport<S, Item, SinkItem, BoundedBincode>
where
    S: AsyncRead + AsyncWrite,
    Item: DeserializeOwned,
    SinkItem: Serialize,
{
    let framed = LengthDelimitedCodec::builder().max_frame_length(frame_bytes_max).new_framed(stream);
    serde_transport::new(framed, BoundedBincode)
}
