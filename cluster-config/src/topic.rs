//! The settings of one topic.

use serde::{Deserialize, Serialize};

use crate::bounds::{self, OutOfBounds};
use crate::limits;

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
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            partitions: limits::PARTITIONS_PER_TOPIC_DEFAULT,
            replication_factor: limits::REPLICATION_FACTOR_DEFAULT,
            segment_bytes: limits::SEGMENT_BYTES_DEFAULT,
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
        bounds::check_size("segment_bytes", self.segment_bytes, &limits::SEGMENT_BYTES_BOUNDS)
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
        assert_eq!(config, TopicConfig { partitions: 1, replication_factor: 3, segment_bytes: 256 << 20 });
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn both_ends_of_each_bound_are_valid() {
        for config in [
            TopicConfig { partitions: 1, replication_factor: 1, segment_bytes: 1 << 20 },
            TopicConfig { partitions: 1_000, replication_factor: 7, segment_bytes: 4 << 30 },
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
    }

    #[test]
    fn missing_settings_are_defaults_and_unknown_ones_are_refused() {
        let config: TopicConfig = toml::from_str("partitions = 12").unwrap();
        assert_eq!(config, TopicConfig { partitions: 12, ..TopicConfig::default() });
        assert!(toml::from_str::<TopicConfig>("partition = 12").is_err());
    }

    #[test]
    fn the_serialized_form_is_read_back() {
        let config = TopicConfig { partitions: 2, replication_factor: 5, segment_bytes: 1 << 30 };
        assert_eq!(toml::from_str::<TopicConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
    }
}
