//! The times of Raft, and the speed of catching up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::NodeConfigError;
use crate::text::{duration, size};
use crate::{bounds, limits};

/// The times of Raft, for every group of the node, in whole milliseconds and the same on every node; and how fast
/// replicas that lag are served.
///
/// Invariant, checked by [`NodeConfig::validate`](crate::NodeConfig::validate):
/// `3 * heartbeat_interval <= election_timeout_min < election_timeout_max`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RaftConfig {
    /// The time between two heartbeats of a leader. Default 150 ms, bounds 10 ms to 10 s.
    #[serde(with = "duration")]
    pub heartbeat_interval: Duration,
    /// The shortest time without a leader after which a replica stands for leader. Default 500 ms, bounds 30 ms to
    /// 60 s.
    #[serde(with = "duration")]
    pub election_timeout_min: Duration,
    /// The longest time without a leader after which a replica stands for leader. Default 750 ms, bounds 30 ms to 60 s.
    #[serde(with = "duration")]
    pub election_timeout_max: Duration,
    /// The bytes a second at which the node sends old entries, read from its disk, to replicas that lag, over all of them.
    /// Default 100 MiB, bounds 64 KiB to 1 TiB; 0 is unlimited.
    #[serde(with = "size")]
    pub catch_up_bytes_per_second: u64,
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self {
            heartbeat_interval: limits::HEARTBEAT_INTERVAL_DEFAULT,
            election_timeout_min: limits::ELECTION_TIMEOUT_MIN_DEFAULT,
            election_timeout_max: limits::ELECTION_TIMEOUT_MAX_DEFAULT,
            catch_up_bytes_per_second: limits::CATCH_UP_BYTES_PER_SECOND_DEFAULT,
        }
    }
}

impl RaftConfig {
    pub(super) fn validate(&self) -> Result<(), NodeConfigError> {
        let Self { heartbeat_interval, election_timeout_min, election_timeout_max, catch_up_bytes_per_second } = *self;
        for (key, time, bounds) in [
            ("raft.heartbeat_interval", heartbeat_interval, limits::HEARTBEAT_INTERVAL_BOUNDS),
            ("raft.election_timeout_min", election_timeout_min, limits::ELECTION_TIMEOUT_BOUNDS),
            ("raft.election_timeout_max", election_timeout_max, limits::ELECTION_TIMEOUT_BOUNDS),
        ] {
            bounds::check(key, time, &bounds, duration::format)?;
            if time.subsec_nanos() % 1_000_000 != 0 {
                return Err(NodeConfigError::FractionOfMillisecond { key, found: time });
            }
        }
        if election_timeout_min < heartbeat_interval * limits::HEARTBEATS_PER_ELECTION_TIMEOUT_MIN {
            return Err(NodeConfigError::ElectionTimeoutTooShort { election_timeout_min, heartbeat_interval });
        }
        if election_timeout_max <= election_timeout_min {
            return Err(NodeConfigError::ElectionTimeoutsReversed { election_timeout_min, election_timeout_max });
        }
        if catch_up_bytes_per_second > 0 {
            let allowed = &limits::CATCH_UP_BYTES_PER_SECOND_BOUNDS;
            bounds::check_size("raft.catch_up_bytes_per_second", catch_up_bytes_per_second, allowed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn config(heartbeat: u64, min: u64, max: u64) -> RaftConfig {
        RaftConfig {
            heartbeat_interval: Duration::from_millis(heartbeat),
            election_timeout_min: Duration::from_millis(min),
            election_timeout_max: Duration::from_millis(max),
            catch_up_bytes_per_second: 100 << 20,
        }
    }

    fn message(config: &RaftConfig) -> String {
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_and_the_ends_of_the_bounds_are_valid() {
        assert_eq!(RaftConfig::default(), config(150, 500, 750));
        for config in [RaftConfig::default(), config(10, 30, 31), config(10_000, 30_000, 60_000)] {
            assert_eq!(config.validate(), Ok(()));
        }
    }

    #[test]
    fn each_time_has_its_bounds() {
        for (config, expected) in [
            (config(9, 600, 1_000), "raft.heartbeat_interval is 9ms, but must lie within 10ms..=10s"),
            (config(10_001, 40_000, 50_000), "raft.heartbeat_interval is 10s 1ms, but must lie within 10ms..=10s"),
            (config(10, 29, 1_000), "raft.election_timeout_min is 29ms, but must lie within 30ms..=1m"),
            (config(200, 600, 60_001), "raft.election_timeout_max is 1m 1ms, but must lie within 30ms..=1m"),
        ] {
            assert!(message(&config).starts_with(expected), "{}", message(&config));
        }
    }

    #[test]
    fn the_speed_of_catching_up_has_its_bounds() {
        for bytes in [0, 64 << 10, 1 << 40] {
            let config = RaftConfig { catch_up_bytes_per_second: bytes, ..RaftConfig::default() };
            assert_eq!(config.validate(), Ok(()));
        }
        for bytes in [1, (64 << 10) - 1, (1 << 40) + 1] {
            let found = message(&RaftConfig { catch_up_bytes_per_second: bytes, ..RaftConfig::default() });
            let expected = format!("raft.catch_up_bytes_per_second is {bytes}B, but must lie within 64KiB..=1TiB");
            assert!(found.starts_with(&expected), "{found}");
        }
    }

    #[test]
    fn an_extreme_time_is_refused_without_overflow() {
        let config = RaftConfig { heartbeat_interval: Duration::MAX, ..RaftConfig::default() };
        assert!(message(&config).starts_with("raft.heartbeat_interval is "));
    }

    #[test]
    fn three_heartbeats_fit_into_an_election_timeout() {
        assert_eq!(
            message(&config(200, 599, 1_000)),
            "raft.election_timeout_min is 599ms, but must be at least 3 times raft.heartbeat_interval, which is 200ms: \
             set it to 600ms or more, or shorten the heartbeat interval"
        );
    }

    #[test]
    fn the_longest_timeout_is_above_the_shortest() {
        for max in [600, 599] {
            assert!(
                message(&config(200, 600, max)).contains("must be above raft.election_timeout_min, which is 600ms")
            );
        }
        assert_eq!(config(200, 600, 601).validate(), Ok(()));
    }

    #[test]
    fn times_are_whole_milliseconds() {
        let config = RaftConfig { heartbeat_interval: Duration::from_micros(10_500), ..RaftConfig::default() };
        assert!(message(&config).starts_with("raft.heartbeat_interval is 10ms 500us, which is no whole number"));
    }
}
