//! The writing of logs.

use serde::{Deserialize, Serialize};

use crate::bounds::{self, OutOfBounds};
use crate::limits;
use crate::text::size;

/// How the node writes and caches the logs of all its replicas.
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
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { writer_threads: limits::WRITER_THREADS_DEFAULT, tail_cache_bytes: limits::TAIL_CACHE_BYTES_DEFAULT }
    }
}

impl LogConfig {
    pub(super) fn validate(&self) -> Result<(), OutOfBounds> {
        bounds::check_count("log.writer_threads", self.writer_threads, &limits::WRITER_THREADS_BOUNDS)?;
        bounds::check_size("log.tail_cache_bytes", self.tail_cache_bytes, &limits::TAIL_CACHE_BYTES_BOUNDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(writer_threads: u32, tail_cache_bytes: u64) -> Option<&'static str> {
        LogConfig { writer_threads, tail_cache_bytes }.validate().err().map(|error| error.key)
    }

    #[test]
    fn the_defaults_are_two_threads_and_128_mib() {
        assert_eq!(LogConfig::default(), LogConfig { writer_threads: 2, tail_cache_bytes: 128 << 20 });
        assert_eq!(LogConfig::default().validate(), Ok(()));
    }

    #[test]
    fn each_setting_has_its_bounds() {
        assert_eq!(refused(1, 4 << 20), None);
        assert_eq!(refused(16, 1 << 40), None);
        assert_eq!(refused(0, 4 << 20), Some("log.writer_threads"));
        assert_eq!(refused(17, 4 << 20), Some("log.writer_threads"));
        assert_eq!(refused(1, (4 << 20) - 1), Some("log.tail_cache_bytes"));
        assert_eq!(refused(1, (1 << 40) + 1), Some("log.tail_cache_bytes"));
    }
}
