//! Settings of a consumer.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use quorate_cluster_config::{
    PartitionIndex, TopicName,
    limits::{FETCH_BYTES_DEFAULT, FETCH_BYTES_MAX, FETCH_WAIT_MAX},
};
use quorate_protocol::ServeFrom;

use super::{handle::Consumer, position::Position};
use crate::{admin::require_partition, client::Client, error::Error};

/// Partitions whose offsets are asked for at once.
pub(super) const OFFSETS_IN_FLIGHT_MAX: usize = 64;

/// Settings of a [`Consumer`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before it is built"]
pub struct ConsumerBuilder {
    client: Client,
    topic: TopicName,
    partitions: Option<Vec<PartitionIndex>>,
    from: Position,
    fetch: FetchSettings,
}

/// The settings of each fetch.
#[derive(Clone, Copy, Debug)]
pub(super) struct FetchSettings {
    pub(super) bytes: usize,
    pub(super) max_wait: Duration,
    pub(super) serve_from: ServeFrom,
}

impl ConsumerBuilder {
    pub(crate) fn new(client: Client, topic: TopicName) -> Self {
        let max_wait = Duration::from_millis(500);
        let fetch = FetchSettings { bytes: FETCH_BYTES_DEFAULT, max_wait, serve_from: ServeFrom::Leader };
        Self { client, topic, partitions: None, from: Position::First, fetch }
    }

    /// The partitions to read. Default: all that the topic has.
    pub fn partitions(mut self, partitions: Vec<PartitionIndex>) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Where to read each partition from. Default: the first retained record.
    pub fn from(mut self, position: Position) -> Self {
        self.from = position;
        self
    }

    /// The most bytes a fetch returns, 1 to `FETCH_BYTES_MAX`; default 1 MiB. Up to two fetches per partition are held
    /// in memory. A batch that is larger is returned all the same.
    pub fn fetch_bytes(mut self, bytes: usize) -> Self {
        self.fetch.bytes = bytes;
        self
    }

    /// How long a node may hold a fetch until there are records, at most 30 s. Default 500 ms. Records that arrive
    /// meanwhile are returned at once.
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.fetch.max_wait = max_wait;
        self
    }

    /// Which replicas are read from. Default: the leaders. With [`ServeFrom::AnyReplica`] followers are preferred, other
    /// ones by other consumers, and what they do not answer is asked of the next replica, at last of the leader. Records
    /// are the same and in the same order; they may come later, since a follower learns after the leader what is
    /// committed. Offsets to begin with are asked of the leaders all the same.
    pub fn serve_from(mut self, serve_from: ServeFrom) -> Self {
        self.fetch.serve_from = serve_from;
        self
    }

    /// Looks the topic up, finds the offsets to begin with, and begins to fetch.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a setting beyond its bounds; [`Error::Refused`] with
    /// [`ErrorCode::UnknownTopic`](crate::ErrorCode::UnknownTopic) or
    /// [`ErrorCode::UnknownPartition`](crate::ErrorCode::UnknownPartition).
    pub async fn build(self) -> Result<Consumer, Error> {
        let FetchSettings { bytes, max_wait, .. } = self.fetch;
        if !(1..=FETCH_BYTES_MAX).contains(&bytes) {
            let message = format!("fetch_bytes is {bytes}, but must lie within 1..={FETCH_BYTES_MAX}");
            return Err(Error::InvalidArgument(message));
        }
        if max_wait > FETCH_WAIT_MAX {
            let message = format!("max_wait is {max_wait:?}, but must be at most {FETCH_WAIT_MAX:?}");
            return Err(Error::InvalidArgument(message));
        }
        let topic = self.client.topic(&self.topic).await?;
        let partitions = self.partitions.unwrap_or_else(|| (0..topic.config.partitions).collect());
        for partition in &partitions {
            require_partition(&topic, *partition)?;
        }
        let (client, from) = (&self.client, self.from);
        let positions: BTreeMap<PartitionIndex, u64> =
            stream::iter(partitions)
                .map(|partition| async move {
                    Ok::<_, Error>((partition, from.resolve(client, topic.id, partition).await?))
                })
                .buffer_unordered(OFFSETS_IN_FLIGHT_MAX)
                .try_collect()
                .await?;
        Ok(Consumer::new(self.client, topic.id, self.fetch, from, positions))
    }
}
