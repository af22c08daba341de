//! A record as one JSON object.

use serde::Serialize;

use super::RecordView;
use crate::base64;

/// Bytes as JSON carries them: under the plain name if they are UTF-8, under `…_base64` if not.
#[derive(Debug, Serialize)]
pub(super) struct JsonRecord<'a> {
    topic: &'a str,
    partition: u32,
    offset: u64,
    timestamp_ms: i64,
    #[serde(skip_serializing_if = "is_base64")]
    key: JsonBytes<'a>,
    #[serde(skip_serializing_if = "is_plain")]
    key_base64: JsonBytes<'a>,
    #[serde(skip_serializing_if = "is_base64")]
    value: JsonBytes<'a>,
    #[serde(skip_serializing_if = "is_plain")]
    value_base64: JsonBytes<'a>,
    headers: Vec<JsonHeader<'a>>,
}

#[derive(Debug, Serialize)]
struct JsonHeader<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "is_base64")]
    value: JsonBytes<'a>,
    #[serde(skip_serializing_if = "is_plain")]
    value_base64: JsonBytes<'a>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum JsonBytes<'a> {
    Plain(Option<&'a str>),
    Base64(String),
}

fn is_plain(bytes: &JsonBytes<'_>) -> bool {
    matches!(bytes, JsonBytes::Plain(_))
}

fn is_base64(bytes: &JsonBytes<'_>) -> bool {
    matches!(bytes, JsonBytes::Base64(_))
}

impl<'a> JsonBytes<'a> {
    fn new(bytes: Option<&'a [u8]>) -> Self {
        match bytes.map(std::str::from_utf8).transpose() {
            Ok(text) => Self::Plain(text),
            Err(_) => Self::Base64(base64::encode(bytes.unwrap_or_default())),
        }
    }
}

impl<'a> JsonRecord<'a> {
    pub(super) fn new(record: &RecordView<'a>) -> Self {
        let (key, value) = (JsonBytes::new(record.key), JsonBytes::new(record.value));
        let headers = record.headers.iter().map(|(key, value)| {
            let value = JsonBytes::new(*value);
            JsonHeader { key, value: value.clone(), value_base64: value }
        });
        Self {
            topic: record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: key.clone(),
            key_base64: key,
            value: value.clone(),
            value_base64: value,
            headers: headers.collect(),
        }
    }
}
