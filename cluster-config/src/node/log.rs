//! The logs of a node.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bounds::{self, OutOfBounds};
use crate::limits;
use crate::text::{duration, size};

/// How the node writes, caches and checks the logs of all its replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// The threads that write and sync. Default 2, bounds 1 to 16. More help where the disk syncs several files at
    /// once; each log belongs to one of them.
    pub writer_threads: u32,
    /// The memory for recent frames, in bytes, which feeds replication and consumers that keep up. Default 128 MiB,
    /// bounds 4 MiB to 1 TiB.
    #[serde(with = "size")]
    pub tail_cache_bytes: u64,
    /// The finished segments kept open for reading. Default 256, bounds 1 to 65,536. Each takes a file descriptor, and
    /// memory of at most 32 KiB.
    pub open_segments_max: u32,
    /// The bytes a second at which finished segments are reread to find damage before somebody needs them. Default
    /// 16 MiB, bounds 64 KiB to 1 TiB; 0 turns it off.
    #[serde(with = "size")]
    pub scrub_bytes_per_second: u64,
    /// From the beginning of one rereading of all finished segments to that of the next, at least. Default 24 h, bounds
    /// 1 min to 365 days.
    #[serde(with = "duration")]
    pub scrub_interval: Duration,
    /// The bytes kept free on the disk of `data_dir` for trims, membership changes and votes. While less is free, the node
    /// refuses writes of clients. Default 1 GiB, bounds 16 MiB to 1 TiB; 0 turns the check off.
    #[serde(with = "size")]
    pub reserve_bytes: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            writer_threads: limits::WRITER_THREADS_DEFAULT,
            tail_cache_bytes: limits::TAIL_CACHE_BYTES_DEFAULT,
            open_segments_max: limits::OPEN_SEGMENTS_DEFAULT,
            scrub_bytes_per_second: limits::SCRUB_BYTES_PER_SECOND_DEFAULT,
            scrub_interval: limits::SCRUB_INTERVAL_DEFAULT,
            reserve_bytes: limits::RESERVE_BYTES_DEFAULT,
        }
    }
}

impl LogConfig {
    pub(super) fn validate(&self) -> Result<(), OutOfBounds> {
        let Self {
            writer_threads,
            tail_cache_bytes,
            open_segments_max,
            scrub_bytes_per_second,
            scrub_interval,
            reserve_bytes,
        } = *self;
        bounds::check_count("log.writer_threads", writer_threads, &limits::WRITER_THREADS_BOUNDS)?;
        bounds::check_size("log.tail_cache_bytes", tail_cache_bytes, &limits::TAIL_CACHE_BYTES_BOUNDS)?;
        bounds::check_count("log.open_segments_max", open_segments_max, &limits::OPEN_SEGMENTS_BOUNDS)?;
        if scrub_bytes_per_second > 0 {
            let allowed = &limits::SCRUB_BYTES_PER_SECOND_BOUNDS;
            bounds::check_size("log.scrub_bytes_per_second", scrub_bytes_per_second, allowed)?;
        }
        bounds::check("log.scrub_interval", scrub_interval, &limits::SCRUB_INTERVAL_BOUNDS, duration::format)?;
        if reserve_bytes > 0 {
            bounds::check_size("log.reserve_bytes", reserve_bytes, &limits::RESERVE_BYTES_BOUNDS)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl Fn(&mut LogConfig)) -> Option<&'static str> {
        let mut config = LogConfig::default();
        change(&mut config);
        config.validate().err().map(|error| error.key)
    }

    #[test]
    fn the_defaults_are_valid() {
        let expected = LogConfig {
            writer_threads: 2,
            tail_cache_bytes: 128 << 20,
            open_segments_max: 256,
            scrub_bytes_per_second: 16 << 20,
            scrub_interval: Duration::from_secs(24 * 3600),
            reserve_bytes: 1 << 30,
        };
        assert_eq!(LogConfig::default(), expected);
        assert_eq!(expected.validate(), Ok(()));
    }

    #[test]
    fn each_setting_has_its_bounds() {
        for threads in [1, 16] {
            assert_eq!(refused(|config| config.writer_threads = threads), None);
        }
        for threads in [0, 17] {
            assert_eq!(refused(|config| config.writer_threads = threads), Some("log.writer_threads"));
        }
        for bytes in [4 << 20, 1 << 40] {
            assert_eq!(refused(|config| config.tail_cache_bytes = bytes), None);
        }
        for bytes in [(4 << 20) - 1, (1 << 40) + 1] {
            assert_eq!(refused(|config| config.tail_cache_bytes = bytes), Some("log.tail_cache_bytes"));
        }
        for segments in [1, 65_536] {
            assert_eq!(refused(|config| config.open_segments_max = segments), None);
        }
        for segments in [0, 65_537] {
            assert_eq!(refused(|config| config.open_segments_max = segments), Some("log.open_segments_max"));
        }
        for bytes in [0, 64 << 10, 1 << 40] {
            assert_eq!(refused(|config| config.scrub_bytes_per_second = bytes), None);
        }
        for bytes in [1, (64 << 10) - 1, (1 << 40) + 1] {
            assert_eq!(refused(|config| config.scrub_bytes_per_second = bytes), Some("log.scrub_bytes_per_second"));
        }
        for seconds in [60, 365 * 86_400] {
            assert_eq!(refused(|config| config.scrub_interval = Duration::from_secs(seconds)), None);
        }
        for seconds in [0, 59, 365 * 86_400 + 1] {
            let interval = Duration::from_secs(seconds);
            assert_eq!(refused(|config| config.scrub_interval = interval), Some("log.scrub_interval"));
        }
        for bytes in [0, 16 << 20, 1 << 40] {
            assert_eq!(refused(|config| config.reserve_bytes = bytes), None);
        }
        for bytes in [1, (16 << 20) - 1, (1 << 40) + 1] {
            assert_eq!(refused(|config| config.reserve_bytes = bytes), Some("log.reserve_bytes"));
        }
    }
}
