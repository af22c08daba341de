//! The settings of one topic.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bounds::{self, OutOfBounds};
use crate::limits;
use crate::text::{duration, unlimited};

/// The settings of one topic, as its creator gives them and the metadata group keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopicConfig {
    /// The number of partitions. Default 1, bounds 1 to [`limits::PARTITIONS_PER_TOPIC_MAX`].
    pub partitions: u32,
    /// The number of replicas of each partition, each on a node of its own. Default 3, bounds 1 to
    /// [`limits::REPLICATION_FACTOR_MAX`]. An even number is allowed, but survives no more losses than one less.
    pub replication_factor: u32,
    /// The size at which a segment is sealed and the next one begun, in bytes. Default 256 MiB, bounds
    /// [`limits::SEGMENT_BYTES_BOUNDS`]: 1 MiB to 4 GiB. Retention drops whole sealed segments, so smaller ones follow
    /// it more closely, with more files.
    pub segment_bytes: u64,
    /// How long a record is kept at least, by the time at which its leader took it. Default 7 days, bounds
    /// [`limits::RETENTION_TIME_BOUNDS`]: 1 s to 100 years; `None`, written `unlimited`, for ever. Whole sealed segments
    /// are dropped, so a record may stay longer.
    #[serde(with = "unlimited::duration")]
    pub retention_time: Option<Duration>,
    /// The bytes that each partition keeps at least; what is older goes. Default 10 GiB, bounds
    /// [`limits::RETENTION_BYTES_BOUNDS`]: 1 MiB to 1 EiB; `None`, written `unlimited`, all. Whole sealed segments are
    /// dropped, so a partition may hold more. Every replica needs the space.
    #[serde(with = "unlimited::size")]
    pub retention_bytes: Option<u64>,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            partitions: limits::PARTITIONS_PER_TOPIC_DEFAULT,
            replication_factor: limits::REPLICATION_FACTOR_DEFAULT,
            segment_bytes: limits::SEGMENT_BYTES_DEFAULT,
            retention_time: Some(limits::RETENTION_TIME_DEFAULT),
            retention_bytes: Some(limits::RETENTION_BYTES_DEFAULT),
        }
    }
}

impl TopicConfig {
    /// Checks every setting against its bounds. Whether the cluster has enough nodes is for the metadata group to say.
    ///
    /// # Errors
    ///
    /// The first setting that is [`OutOfBounds`].
    pub fn validate(&self) -> Result<(), OutOfBounds> {
        bounds::check_count("partitions", self.partitions, &(1..=limits::PARTITIONS_PER_TOPIC_MAX))?;
        bounds::check_count("replication_factor", self.replication_factor, &(1..=limits::REPLICATION_FACTOR_MAX))?;
        bounds::check_size("segment_bytes", self.segment_bytes, &limits::SEGMENT_BYTES_BOUNDS)?;
        if let Some(time) = self.retention_time {
            bounds::check("retention_time", time, &limits::RETENTION_TIME_BOUNDS, duration::format)?;
        }
        if let Some(bytes) = self.retention_bytes {
            bounds::check_size("retention_bytes", bytes, &limits::RETENTION_BYTES_BOUNDS)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn refused(change: impl Fn(&mut TopicConfig)) -> String {
        let mut config = TopicConfig::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_valid() {
        let config = TopicConfig::default();
        let expected = TopicConfig {
            partitions: 1,
            replication_factor: 3,
            segment_bytes: 256 << 20,
            retention_time: Some(Duration::from_secs(7 * 86_400)),
            retention_bytes: Some(10 << 30),
        };
        assert_eq!(config, expected);
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn both_ends_of_each_bound_are_valid() {
        for config in [
            TopicConfig {
                partitions: 1,
                replication_factor: 1,
                segment_bytes: 1 << 20,
                retention_time: Some(Duration::from_secs(1)),
                retention_bytes: Some(1 << 20),
            },
            TopicConfig {
                partitions: 1_000,
                replication_factor: 7,
                segment_bytes: 4 << 30,
                retention_time: Some(Duration::from_secs(100 * 31_557_600)),
                retention_bytes: Some(1 << 60),
            },
            TopicConfig { retention_time: None, retention_bytes: None, ..TopicConfig::default() },
        ] {
            assert_eq!(config.validate(), Ok(()));
        }
    }

    #[test]
    fn each_setting_has_its_bounds() {
        for partitions in [0, 1_001] {
            let message = refused(|config| config.partitions = partitions);
            assert!(
                message.starts_with(&format!("partitions is {partitions}, but must lie within 1..=1000")),
                "{message}"
            );
        }
        for factor in [0, 8] {
            let message = refused(|config| config.replication_factor = factor);
            assert!(
                message.starts_with(&format!("replication_factor is {factor}, but must lie within 1..=7")),
                "{message}"
            );
        }
        for bytes in [(1 << 20) - 1, (4 << 30) + 1] {
            let message = refused(|config| config.segment_bytes = bytes);
            assert!(
                message.starts_with(&format!("segment_bytes is {bytes}B, but must lie within 1MiB..=4GiB")),
                "{message}"
            );
        }
        for (time, shown) in [
            (Duration::from_millis(999), "999ms"),
            (Duration::from_secs(100 * 31_557_600 + 1), "100years 1s"),
            (Duration::ZERO, "0s"),
        ] {
            let message = refused(|config| config.retention_time = Some(time));
            assert!(
                message.starts_with(&format!("retention_time is {shown}, but must lie within 1s..=100years")),
                "{message}"
            );
        }
        for bytes in [0, (1 << 20) - 1, (1 << 60) + 1] {
            let message = refused(|config| config.retention_bytes = Some(bytes));
            assert!(
                message.starts_with(&format!("retention_bytes is {bytes}B, but must lie within 1MiB..=1EiB")),
                "{message}"
            );
        }
    }

    #[test]
    fn missing_settings_are_defaults_and_unknown_ones_are_refused() {
        let config: TopicConfig = toml::from_str("partitions = 12").unwrap();
        assert_eq!(config, TopicConfig { partitions: 12, ..TopicConfig::default() });
        assert!(toml::from_str::<TopicConfig>("partition = 12").is_err());
    }

    #[test]
    fn the_serialized_form_is_read_back() {
        let config =
            TopicConfig { partitions: 2, replication_factor: 5, segment_bytes: 1 << 30, ..TopicConfig::default() };
        let unlimited = TopicConfig { retention_time: None, retention_bytes: None, ..TopicConfig::default() };
        for config in [config, unlimited] {
            assert_eq!(toml::from_str::<TopicConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
        }
    }

    #[test]
    fn retention_is_written_as_a_person_would_write_it() {
        let shown = toml::to_string(&TopicConfig { retention_bytes: None, ..TopicConfig::default() }).unwrap();
        assert!(shown.contains("retention_time = \"7days\"\nretention_bytes = \"unlimited\""), "{shown}");
        let read = |text: &str| toml::from_str::<TopicConfig>(text).map_err(|error| error.message().to_owned());
        assert_eq!(read("retention_time = 'unlimited'").unwrap().retention_time, None);
        assert_eq!(read("retention_time = '36h'").unwrap().retention_time, Some(Duration::from_secs(36 * 3_600)));
        assert_eq!(read("retention_bytes = 'unlimited'").unwrap().retention_bytes, None);
        assert_eq!(read("retention_bytes = '2EiB'").unwrap().retention_bytes, Some(2 << 60));
        assert_eq!(read("retention_bytes = 1048576").unwrap().retention_bytes, Some(1 << 20));
        for text in ["retention_time = 'forever'", "retention_time = 7", "retention_time = -7"] {
            let expected = "expected a duration with its unit such as \"200ms\" or \"unlimited\"";
            assert!(read(text).unwrap_err().contains(expected), "{text}");
        }
        for text in ["retention_bytes = 'much'", "retention_bytes = -1"] {
            assert!(read(text).unwrap_err().contains("expected a size such as \"256MiB\" or \"unlimited\""), "{text}");
        }
    }
}
