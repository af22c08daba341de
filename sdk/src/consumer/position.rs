//! Where to read from.

use quorate_cluster_config::{PartitionIndex, TopicId};
use quorate_protocol::OffsetQuery;

use crate::{client::Client, error::Error};

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
}

impl Position {
    /// The offset it stands for now.
    pub(super) async fn resolve(
        self,
        client: &Client,
        topic: TopicId,
        partition: PartitionIndex,
    ) -> Result<u64, Error> {
        match self {
            Self::First => client.partition_offset(topic, partition, OffsetQuery::First).await,
            Self::Last => client.partition_offset(topic, partition, OffsetQuery::Last).await,
            Self::Offset(offset) => Ok(offset),
            Self::AtTime { ms } => client.partition_offset(topic, partition, OffsetQuery::AtTime { ms }).await,
        }
    }
}
