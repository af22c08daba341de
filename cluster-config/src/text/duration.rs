//! A duration, written as `200ms` or `1m 30s`.

use std::fmt;
use std::time::Duration;

use serde::{Deserializer, Serializer, de};

/// Writes a duration without loss: `200ms`, `1s 500ms`.
pub(crate) fn format(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(DurationVisitor)
}

/// Takes no bare numbers: nothing would say whether they are seconds or milliseconds.
pub(super) struct DurationVisitor;

impl de::Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a duration with its unit such as \"200ms\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        humantime::parse_duration(text).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, I64Deserializer, StrDeserializer};

    use super::*;

    fn read(text: &str) -> Result<Duration, String> {
        let deserializer: StrDeserializer<'_, Error> = text.into_deserializer();
        deserialize(deserializer).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_back_without_loss() {
        for duration in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(1_500), Duration::from_secs(90)]
        {
            assert_eq!(read(&format(duration)).unwrap(), duration);
        }
        assert_eq!(format(Duration::from_millis(200)), "200ms");
    }

    #[test]
    fn what_has_no_unit_is_refused_with_an_example() {
        for text in ["", "200", "ms", "-1s", "200 parsecs", "99999999999999999999s"] {
            assert!(
                read(text).unwrap_err().contains("expected a duration with its unit such as \"200ms\""),
                "{text:?}"
            );
        }
        let number: I64Deserializer<Error> = 200i64.into_deserializer();
        assert!(deserialize(number).unwrap_err().to_string().contains("expected a duration"));
    }
}
