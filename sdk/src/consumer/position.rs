//! Where to read from.

use std::time::Duration;

use quorate_cluster_config::PartitionId;
use quorate_protocol::OffsetQuery;

use crate::{client::Client, error::Error, time::unix_time_ms};

/// Where to read a partition from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Position {
    /// The first record that is retained.
    #[default]
    First,
    /// The end: only records appended after now.
    Last,
    /// This offset.
    Offset(u64),
    /// The first batch that its leader took at or after this time; the end if there is none. It is the leader's clock that
    /// counts, not the timestamps of records, and a batch is read as a whole.
    AtTime {
        /// Milliseconds since 1970-01-01T00:00:00Z.
        ms: i64,
    },
    /// As [`Position::AtTime`], so long ago by this machine's clock.
    Ago(Duration),
}

/// What a reader does if the next records were deleted before it has read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTruncated {
    /// Reports [`Error::OffsetOutOfRange`]: nothing is skipped unnoticed. The default.
    #[default]
    Error,
    /// Goes on with the first record there is, with a warning.
    First,
    /// Goes on with what comes next, with a warning.
    Last,
}

impl Position {
    /// The offset it stands for now.
    pub(crate) async fn resolve(self, client: &Client, partition: PartitionId) -> Result<u64, Error> {
        let query = match self {
            Self::Offset(offset) => return Ok(offset),
            Self::First => OffsetQuery::First,
            Self::Last => OffsetQuery::Last,
            Self::AtTime { ms } => OffsetQuery::AtTime { ms },
            Self::Ago(ago) => {
                let ago_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                OffsetQuery::AtTime { ms: unix_time_ms().saturating_sub(ago_ms) }
            }
        };
        client.partition_offset(partition, query).await
    }
}
