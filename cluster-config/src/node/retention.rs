//! When the node looks for what need not be kept any longer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bounds::{self, OutOfBounds};
use crate::limits;
use crate::text::duration;

/// When the node, for the partitions it leads, looks for what need not be kept any longer. How long and how much a topic
/// keeps is a setting of the [topic](crate::TopicConfig).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// The time between two looks for records past their retention and producers past their expiry. Default 30 s, bounds
    /// 100 ms to 1 day.
    #[serde(with = "duration")]
    pub check_interval: Duration,
    /// How long a producer must have been idle, by the leader's clock, before a partition forgets it. One that comes back
    /// later is refused, since its retries could no longer be recognised. Default 7 days, bounds 1 min to 365 days.
    #[serde(with = "duration")]
    pub producer_expiry: Duration,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            check_interval: limits::RETENTION_CHECK_INTERVAL_DEFAULT,
            producer_expiry: limits::PRODUCER_EXPIRY_DEFAULT,
        }
    }
}

impl RetentionConfig {
    pub(super) fn validate(&self) -> Result<(), OutOfBounds> {
        for (key, time, bounds) in [
            ("retention.check_interval", self.check_interval, limits::RETENTION_CHECK_INTERVAL_BOUNDS),
            ("retention.producer_expiry", self.producer_expiry, limits::PRODUCER_EXPIRY_BOUNDS),
        ] {
            bounds::check(key, time, &bounds, duration::format)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn refused(check_interval: Duration, producer_expiry: Duration) -> Option<&'static str> {
        RetentionConfig { check_interval, producer_expiry }.validate().err().map(|error| error.key)
    }

    #[test]
    fn the_defaults_are_valid() {
        let expected = RetentionConfig { check_interval: Duration::from_secs(30), producer_expiry: 7 * DAY };
        assert_eq!(RetentionConfig::default(), expected);
        assert_eq!(expected.validate(), Ok(()));
    }

    #[test]
    fn each_setting_has_its_bounds() {
        let (minute, millisecond) = (Duration::from_secs(60), Duration::from_millis(1));
        assert_eq!(refused(100 * millisecond, minute), None);
        assert_eq!(refused(DAY, 365 * DAY), None);
        for interval in [Duration::ZERO, 99 * millisecond, DAY + millisecond, Duration::MAX] {
            assert_eq!(refused(interval, minute), Some("retention.check_interval"));
        }
        for expiry in [Duration::ZERO, minute - millisecond, 365 * DAY + millisecond, Duration::MAX] {
            assert_eq!(refused(DAY, expiry), Some("retention.producer_expiry"));
        }
    }
}
