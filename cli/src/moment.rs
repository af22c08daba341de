//! A point in time as it is written on the command line, behind an `@`: milliseconds since 1970, RFC 3339, or a time
//! before now.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How a point in time is written, for messages.
pub(crate) const EXAMPLES: &str = "@1700000000000 (ms since 1970), @2026-01-31T12:00:00Z or @-1h";

/// Reads what stands behind the `@`, as milliseconds since 1970; `now` is what `-1h` counts from.
pub(crate) fn parse(text: &str, now: SystemTime) -> Result<i64, String> {
    let read = match text.strip_prefix('-') {
        Some(ago) => humantime::parse_duration(ago).ok().and_then(|ago| before(now, ago)),
        None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        None => rfc3339(text),
    };
    read.ok_or_else(|| format!("@{text} is no point in time since 1970: write it like {EXAMPLES}"))
}

fn before(now: SystemTime, ago: Duration) -> Option<i64> {
    now.duration_since(UNIX_EPOCH).ok()?.checked_sub(ago)?.as_millis().try_into().ok()
}

/// With `Z` or an offset from UTC such as `+01:00`.
fn rfc3339(text: &str) -> Option<i64> {
    let text = text.to_ascii_uppercase();
    let (local, offset_minutes) = match text.strip_suffix('Z') {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
            (local, offset_minutes(offset)?)
        }
    };
    let as_if_utc = humantime::parse_rfc3339(&format!("{local}Z")).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let ms: i64 = as_if_utc.as_millis().try_into().ok()?;
    ms.checked_sub(offset_minutes * 60_000)
}

fn offset_minutes(offset: &str) -> Option<i64> {
    let (sign, offset) = match offset.split_at_checked(1)? {
        ("+", offset) => (1, offset),
        ("-", offset) => (-1, offset),
        _ => return None,
    };
    let (hours, minutes) = offset.split_once(':')?;
    let number = |text: &str, max: i64| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| digits && *number <= max)
    };
    Some(sign * (number(hours, 23)? * 60 + number(minutes, 59)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<i64, String> {
        parse(text, UNIX_EPOCH + Duration::from_millis(1_700_000_000_123))
    }

    #[test]
    fn milliseconds_since_1970_are_taken_as_they_are() {
        assert_eq!(read("0"), Ok(0));
        assert_eq!(read("1700000000000"), Ok(1_700_000_000_000));
    }

    #[test]
    fn rfc_3339_is_read_with_fractions_and_offsets_from_utc() {
        for (text, ms) in [
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14t22:13:20.5z", 1_700_000_000_500),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000_000),
            ("2023-11-14T16:43:20.125-05:30", 1_700_000_000_125),
            ("1970-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(read(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn a_time_before_now_counts_from_now() {
        assert_eq!(read("-1h"), Ok(1_700_000_000_123 - 3_600_000));
        assert_eq!(read("-1d 12h"), Ok(1_700_000_000_123 - 36 * 3_600_000));
        assert_eq!(read("-0s"), Ok(1_700_000_000_123));
    }

    #[test]
    fn what_is_no_point_in_time_is_refused_with_examples() {
        for text in [
            "",
            "-",
            "-1",
            "-1000y",
            "+1h",
            "1h",
            "now",
            "99999999999999999999",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-13-14T22:13:20Z",
            "2023-11-14T22:13:20+24:00",
            "2023-11-14T22:13:20+1:000",
            "2023-11-14T22:13:20é01:0",
            "1969-12-31T23:59:59Z",
            "é",
        ] {
            let error = read(text).err().unwrap_or_default();
            assert_eq!(error, format!("@{text} is no point in time since 1970: write it like {EXAMPLES}"));
        }
    }
}
