//! The one check that most settings need: a value between two others.

use std::ops::RangeInclusive;

/// A setting lies outside its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {found}, but must lie within {min}..={max}: set it to a value in that range")]
pub struct OutOfBounds {
    /// The setting, such as `log.writer_threads`.
    pub key: &'static str,
    /// Its value, as a person would write it.
    pub found: String,
    /// The least value allowed, as a person would write it.
    pub min: String,
    /// The greatest value allowed, as a person would write it.
    pub max: String,
}

/// Checks that `value` lies within `bounds`; `show` writes values as a person would.
pub(crate) fn check<T: PartialOrd + Copy>(
    key: &'static str,
    value: T,
    bounds: &RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<(), OutOfBounds> {
    if bounds.contains(&value) {
        return Ok(());
    }
    Err(OutOfBounds { key, found: show(value), min: show(*bounds.start()), max: show(*bounds.end()) })
}

/// Checks a count.
pub(crate) fn check_count(key: &'static str, value: u32, bounds: &RangeInclusive<u32>) -> Result<(), OutOfBounds> {
    check(key, value, bounds, |count| count.to_string())
}

/// Checks a size in bytes.
pub(crate) fn check_size(key: &'static str, value: u64, bounds: &RangeInclusive<u64>) -> Result<(), OutOfBounds> {
    check(key, value, bounds, crate::text::size::format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        assert_eq!(check_count("a", 1, &(1..=3)), Ok(()));
        assert_eq!(check_count("a", 3, &(1..=3)), Ok(()));
        assert!(check_count("a", 0, &(1..=3)).is_err());
        assert!(check_count("a", 4, &(1..=3)).is_err());
    }

    #[test]
    fn the_error_names_the_setting_the_value_and_the_bounds() {
        let error = check_size("log.tail_cache_bytes", 1024, &(4 << 20..=1 << 40)).map_err(|error| error.to_string());
        let expected = "log.tail_cache_bytes is 1KiB, but must lie within 4MiB..=1TiB: set it to a value in that range";
        assert_eq!(error, Err(expected.to_owned()));
    }
}
