use bytes::Bytes;

/// One record of a batch, without its position.
///
/// A null key or value (`None`) differs from an empty one. Neither needs to be text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Key: decides the partition.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
    /// Headers, in order; a key may occur more than once.
    pub headers: Vec<Header>,
    /// Time of creation, milliseconds since the Unix epoch, set by the producer. Any value is allowed.
    pub timestamp_ms: i64,
}

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Key, UTF-8. It is a `String`, hence copied on decoding: header keys are short and the plain type is worth more
    /// to callers than the copy. Values are not copied.
    pub key: String,
    /// Value; null differs from empty.
    pub value: Option<Bytes>,
}

impl Record {
    /// A record with a value, a null key and no headers.
    pub fn new(value: impl Into<Bytes>, timestamp_ms: i64) -> Self {
        Self { key: None, value: Some(value.into()), headers: Vec::new(), timestamp_ms }
    }

    /// The record with this key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The record with one more header, after those it has.
    #[must_use]
    pub fn with_header(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header { key: key.into(), value: Some(value.into()) });
        self
    }
}
