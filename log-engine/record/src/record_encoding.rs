//! The bytes of one record within a batch, before compression.

use bytes::{BufMut, BytesMut};

use crate::{Record, varint};

/// Length that stands for null.
const NULL: i64 = -1;

/// Size of a record behind its length field, in bytes.
pub(crate) fn body_size(record: &Record, timestamp_delta: i64, offset_delta: i64) -> usize {
    let headers: usize =
        record.headers.iter().map(|header| bytes_size(header.key.as_bytes()) + nullable_size(&header.value)).sum();
    size_of::<i8>()
        + varint::size(timestamp_delta)
        + varint::size(offset_delta)
        + nullable_size(&record.key)
        + nullable_size(&record.value)
        + varint::size(record.headers.len() as i64)
        + headers
}

/// Appends a record to `buffer`; `body_size` is what [`body_size`] says of it.
pub(crate) fn put(buffer: &mut BytesMut, record: &Record, timestamp_delta: i64, offset_delta: i64, body_size: usize) {
    varint::put(buffer, body_size as i64);
    let body_start = buffer.len();
    // Attributes of a record: Kafka has reserved them, and given them no meaning.
    buffer.put_i8(0);
    varint::put(buffer, timestamp_delta);
    varint::put(buffer, offset_delta);
    put_nullable(buffer, &record.key);
    put_nullable(buffer, &record.value);
    varint::put(buffer, record.headers.len() as i64);
    for header in &record.headers {
        put_bytes(buffer, header.key.as_bytes());
        put_nullable(buffer, &header.value);
    }
    debug_assert_eq!(buffer.len() - body_start, body_size, "size of {record:?}");
}

fn bytes_size(bytes: &[u8]) -> usize {
    varint::size(bytes.len() as i64) + bytes.len()
}

fn nullable_size(bytes: &Option<impl AsRef<[u8]>>) -> usize {
    bytes.as_ref().map_or_else(|| varint::size(NULL), |bytes| bytes_size(bytes.as_ref()))
}

fn put_bytes(buffer: &mut BytesMut, bytes: &[u8]) {
    varint::put(buffer, bytes.len() as i64);
    buffer.put_slice(bytes);
}

fn put_nullable(buffer: &mut BytesMut, bytes: &Option<impl AsRef<[u8]>>) {
    match bytes {
        Some(bytes) => put_bytes(buffer, bytes.as_ref()),
        None => varint::put(buffer, NULL),
    }
}
