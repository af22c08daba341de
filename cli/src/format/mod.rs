//! How `consume` writes a record: a format compiled once, then applied to each record. Pure but for the writer.
//!
//! The letters are those of kcat and rpk.

mod json;

use std::io::{self, Write};
use std::str::FromStr;

use self::json::JsonRecord;

/// A record as a format sees it.
#[derive(Clone, Debug)]
pub(crate) struct RecordView<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

/// A compiled format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecordFormat {
    /// Text with the record's parts in it; nothing is added, not even a newline.
    Text(Vec<Piece>),
    /// One JSON object a line.
    Json,
}

/// A part of a text format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Literal(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Key,
    Value,
    Timestamp,
    Headers,
}

/// Why a text is no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    #[error(
        "unknown letter %{0}: use %t topic, %p partition, %o offset, %k key, %v value, %d timestamp in ms, %h headers, %% for a percent sign"
    )]
    Letter(char),
    #[error("unknown escape \\{0}: use \\n, \\r, \\t, \\0 or \\\\")]
    Escape(char),
    #[error("the format ends in a single {0}: write {0}{0} for one {0}")]
    End(char),
}

impl RecordFormat {
    /// The default: values, a line each.
    pub(crate) fn values() -> Self {
        Self::Text(vec![Piece::Value, Piece::Literal(b"\n".to_vec())])
    }

    /// Writes one record.
    pub(crate) fn write(&self, record: &RecordView<'_>, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Text(pieces) => pieces.iter().try_for_each(|piece| piece.write(record, out)),
            Self::Json => {
                serde_json::to_writer(&mut *out, &JsonRecord::new(record))?;
                out.write_all(b"\n")
            }
        }
    }
}

impl FromStr for RecordFormat {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        if text == "json" {
            return Ok(Self::Json);
        }
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => literal.push(escape(characters.next().ok_or(FormatError::End('\\'))?)?),
                '%' => match characters.next().ok_or(FormatError::End('%'))? {
                    '%' => literal.push(b'%'),
                    letter => {
                        let piece = Piece::of(letter)?;
                        if !literal.is_empty() {
                            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                        }
                        pieces.push(piece);
                    }
                },
                other => literal.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self::Text(pieces))
    }
}

fn escape(character: char) -> Result<u8, FormatError> {
    match character {
        'n' => Ok(b'\n'),
        'r' => Ok(b'\r'),
        't' => Ok(b'\t'),
        '0' => Ok(0),
        '\\' => Ok(b'\\'),
        other => Err(FormatError::Escape(other)),
    }
}

impl Piece {
    fn of(letter: char) -> Result<Self, FormatError> {
        match letter {
            't' => Ok(Self::Topic),
            'p' => Ok(Self::Partition),
            'o' => Ok(Self::Offset),
            'k' => Ok(Self::Key),
            'v' => Ok(Self::Value),
            'd' => Ok(Self::Timestamp),
            'h' => Ok(Self::Headers),
            other => Err(FormatError::Letter(other)),
        }
    }

    fn write(&self, record: &RecordView<'_>, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Literal(bytes) => out.write_all(bytes),
            Self::Topic => out.write_all(record.topic.as_bytes()),
            Self::Partition => write!(out, "{}", record.partition),
            Self::Offset => write!(out, "{}", record.offset),
            Self::Key => out.write_all(record.key.unwrap_or_default()),
            Self::Value => out.write_all(record.value.unwrap_or_default()),
            Self::Timestamp => write!(out, "{}", record.timestamp_ms),
            Self::Headers => {
                for (position, (key, value)) in record.headers.iter().enumerate() {
                    out.write_all(if position == 0 { b"" } else { b"," })?;
                    out.write_all(key.as_bytes())?;
                    out.write_all(b"=")?;
                    out.write_all(value.unwrap_or_default())?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn record<'a>() -> RecordView<'a> {
        RecordView {
            topic: "orders",
            partition: 2,
            offset: 42,
            timestamp_ms: 1_700_000_000_000,
            key: Some(b"key"),
            value: Some(b"value"),
            headers: vec![("a", Some(b"1")), ("a", None)],
        }
    }

    fn written(format: &str, record: &RecordView<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        format.parse::<RecordFormat>().unwrap().write(record, &mut out).unwrap();
        out
    }

    #[test]
    fn each_letter_writes_its_part_and_nothing_is_added() {
        let out = written("%t %p %o %k %v %d [%h]", &record());
        assert_eq!(out, b"orders 2 42 key value 1700000000000 [a=1,a=]");
    }

    #[test]
    fn escapes_and_percent_signs_are_literals() {
        assert_eq!(written(r"100%%\t\0\r\n\\é", &record()), "100%\t\0\r\n\\é".as_bytes());
        assert_eq!(written("", &record()), b"");
    }

    #[test]
    fn what_is_no_format_is_refused() {
        for (text, error) in [
            ("%x", FormatError::Letter('x')),
            ("%é", FormatError::Letter('é')),
            (r"\x", FormatError::Escape('x')),
            ("%v%", FormatError::End('%')),
            (r"%v\", FormatError::End('\\')),
        ] {
            assert_eq!(text.parse::<RecordFormat>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_default_passes_any_bytes_and_ends_the_line() {
        let mut out = Vec::new();
        RecordFormat::values().write(&RecordView { value: Some(b"\xff\r\0"), ..record() }, &mut out).unwrap();
        RecordFormat::values().write(&RecordView { value: None, ..record() }, &mut out).unwrap();
        assert_eq!(out, b"\xff\r\0\n\n");
    }

    #[test]
    fn json_is_one_line_that_tells_null_from_empty_and_bytes_from_text() {
        let full = String::from_utf8(written("json", &record())).unwrap();
        assert_eq!(
            full,
            "{\"topic\":\"orders\",\"partition\":2,\"offset\":42,\"timestamp_ms\":1700000000000,\"key\":\"key\",\
             \"value\":\"value\",\"headers\":[{\"key\":\"a\",\"value\":\"1\"},{\"key\":\"a\",\"value\":null}]}\n"
        );
        let odd = RecordView { key: Some(b""), value: Some(b"\xff\xfe\xfd"), headers: vec![], ..record() };
        let odd = String::from_utf8(written("json", &odd)).unwrap();
        assert!(odd.contains("\"key\":\"\",\"value_base64\":\"//79\",\"headers\":[]"), "{odd}");
        let null = RecordView { key: None, value: None, headers: vec![], ..record() };
        let null = String::from_utf8(written("json", &null)).unwrap();
        assert!(null.contains("\"key\":null,\"value\":null"), "{null}");
    }
}
