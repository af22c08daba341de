//! Byte strings that travel beside the message they belong to, neither encoded nor copied.

use std::mem;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tarpc::{ClientMessage, Response};

use crate::{QuorateApiRequest, QuorateApiResponse};

/// A byte string, in parts where it is sent and in one where it arrives.
#[derive(Clone, Debug, Default)]
pub struct Payload(Vec<Bytes>);

impl Payload {
    /// Its parts, in order.
    #[must_use]
    pub fn parts(&self) -> &[Bytes] {
        &self.0
    }

    /// Its size, bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    /// All of it in one piece; copied only if it is in parts.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        match self.0.len() {
            0 => Bytes::new(),
            1 => self.0.swap_remove(0),
            _ => {
                let mut whole = BytesMut::with_capacity(self.len());
                self.0.iter().for_each(|part| whole.extend_from_slice(part));
                whole.freeze()
            }
        }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self(vec![bytes])
    }
}

impl From<Vec<Bytes>> for Payload {
    fn from(parts: Vec<Bytes>) -> Self {
        Self(parts)
    }
}

/// The same bytes, whatever the parts.
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.0.iter().flatten().eq(other.0.iter().flatten())
    }
}

impl Eq for Payload {}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.clone().into_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bytes::deserialize(deserializer).map(Self::from)
    }
}

/// A message that may own one long byte string.
pub trait Carrier {
    /// Takes the byte string out, leaving none behind.
    fn take(&mut self) -> Payload;

    /// Whether the encoded message may be decoded. What tarpc itself decodes must not be trusted: of a deadline that lies too far
    /// in the future it makes a panic.
    fn is_plausible(_encoded: &[u8]) -> bool {
        true
    }

    /// Puts it back where [`Carrier::take`] took it from. False if this message owns none.
    fn put(&mut self, payload: Bytes) -> bool;
}

impl Carrier for QuorateApiRequest {
    fn take(&mut self) -> Payload {
        match self {
            Self::Produce { request } => mem::take(&mut request.batch).into(),
            _ => Payload::default(),
        }
    }

    fn put(&mut self, payload: Bytes) -> bool {
        let Self::Produce { request } = self else { return false };
        request.batch = payload;
        true
    }
}

impl Carrier for QuorateApiResponse {
    fn take(&mut self) -> Payload {
        match self {
            Self::Fetch(Ok(response)) => mem::take(&mut response.batches),
            _ => Payload::default(),
        }
    }

    fn put(&mut self, payload: Bytes) -> bool {
        let Self::Fetch(Ok(response)) = self else { return false };
        response.batches = payload.into();
        true
    }
}

/// No deadline lies further off, in seconds: a week.
const DEADLINE_SECONDS_MAX: u64 = 7 * 24 * 3600;
/// A request begins with the number of its variant, 0, and the time to its deadline: whole seconds first.
const REQUEST: [u8; 4] = 0u32.to_le_bytes();

impl<T: Carrier> Carrier for ClientMessage<T> {
    fn is_plausible(encoded: &[u8]) -> bool {
        match encoded.strip_prefix(&REQUEST).and_then(<[u8]>::first_chunk) {
            Some(seconds) => u64::from_le_bytes(*seconds) <= DEADLINE_SECONDS_MAX,
            None => true,
        }
    }

    fn take(&mut self) -> Payload {
        match self {
            Self::Request(request) => request.message.take(),
            _ => Payload::default(),
        }
    }

    fn put(&mut self, payload: Bytes) -> bool {
        let Self::Request(request) = self else { return false };
        request.message.put(payload)
    }
}

impl<T: Carrier> Carrier for Response<T> {
    fn take(&mut self) -> Payload {
        self.message.as_mut().map_or_else(|_| Payload::default(), Carrier::take)
    }

    fn put(&mut self, payload: Bytes) -> bool {
        self.message.as_mut().is_ok_and(|message| message.put(payload))
    }
}
