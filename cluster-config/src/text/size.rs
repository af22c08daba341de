//! A size in bytes, written as `256MiB`.

use std::fmt;

use bytesize::ByteSize;
use serde::{Deserializer, Serializer, de};

/// From the largest: the first that divides a size is the one it is written in.
const UNITS: [(&str, u64); 6] =
    [("EiB", 1 << 60), ("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Writes a size without loss, in the largest binary unit that divides it: `256MiB`, `1000B`.
pub(crate) fn format(bytes: u64) -> String {
    match UNITS.iter().find(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

pub(crate) fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(SizeVisitor)
}

/// Takes a number of bytes too, as TOML has numbers.
pub(super) struct SizeVisitor;

impl de::Visitor<'_> for SizeVisitor {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a size such as \"256MiB\"")
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<u64, E> {
        Ok(bytes)
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<u64, E> {
        u64::try_from(bytes).map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        let size: ByteSize = text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))?;
        Ok(size.as_u64())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, I64Deserializer, StrDeserializer};

    use super::*;

    fn read(text: &str) -> Result<u64, String> {
        let deserializer: StrDeserializer<'_, Error> = text.into_deserializer();
        deserialize(deserializer).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_back_without_loss() {
        for bytes in
            [0, 1, 1000, 1023, 1024, 1 << 20, 256 << 20, (256 << 20) + 1, 3 << 29, 1 << 40, 3 << 50, 1 << 60, u64::MAX]
        {
            assert_eq!(read(&format(bytes)).unwrap(), bytes, "{}", format(bytes));
        }
        assert_eq!([format(0), format(256 << 20), format(3 << 29)], ["0B", "256MiB", "1536MiB"]);
    }

    #[test]
    fn the_usual_spellings_are_read() {
        for text in ["4MiB", "4 MiB", "4mib", "4194304", "4194304B", "4096KiB"] {
            assert_eq!(read(text).unwrap(), 4 << 20, "{text}");
        }
        assert_eq!(read("4MB").unwrap(), 4_000_000);
        assert_eq!(read("1.5KiB").unwrap(), 1536);
    }

    #[test]
    fn what_is_no_size_is_refused_with_an_example() {
        for text in ["", "MiB", "-1", "4 parsecs", "1.2.3MiB", "1e9"] {
            assert!(read(text).unwrap_err().contains("expected a size such as \"256MiB\""), "{text:?}");
        }
        let negative: I64Deserializer<Error> = (-1i64).into_deserializer();
        assert!(deserialize(negative).unwrap_err().to_string().contains("integer `-1`"));
    }
}
