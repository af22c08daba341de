//! Settings of a consumer.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use quorate_cluster_config::{
    NodeId, PartitionId, PartitionIndex, TopicName,
    limits::{FETCH_BYTES_DEFAULT, FETCH_BYTES_MAX, FETCH_WAIT_MAX},
};
use quorate_protocol::ServeFrom;

use super::{
    engine::{Engine, Start},
    handle::Consumer,
    position::{OnTruncated, Position},
};
use crate::{admin::require_partition, client::Client, error::Error};

/// Partitions whose offsets are asked for at once.
pub(crate) const OFFSETS_IN_FLIGHT_MAX: usize = 64;

/// Settings of a [`Consumer`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before it is built"]
pub struct ConsumerBuilder {
    client: Client,
    topic: TopicName,
    partitions: Option<Vec<PartitionIndex>>,
    from: Position,
    until: Option<Position>,
    fetch: FetchSettings,
}

/// The settings of each fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchSettings {
    pub(crate) bytes: usize,
    pub(crate) max_wait: Duration,
    pub(crate) serve_from: ServeFrom,
    /// The only node whose replicas are read.
    pub(crate) node: Option<NodeId>,
    pub(crate) on_truncated: OnTruncated,
}

impl ConsumerBuilder {
    pub(crate) fn new(client: Client, topic: TopicName) -> Self {
        Self { client, topic, partitions: None, from: Position::First, until: None, fetch: FetchSettings::default() }
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

    /// Where to stop: what lies at or behind that position, as of [`build`](Self::build), is not returned, and the stream
    /// ends. [`Position::Last`] replays what there is now. Default: never.
    pub fn until(mut self, position: Position) -> Self {
        self.until = Some(position);
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

    /// Reads from the replicas of one node and no other, leaders or not: to compare what replicas hold, or where a node is close.
    /// A partition without a replica there cannot be read: its polls fail. Overrides [`serve_from`](Self::serve_from).
    pub fn only_from_node(mut self, node: NodeId) -> Self {
        self.fetch.node = Some(node);
        self
    }

    /// What to do if records are deleted before they are read. Default: report it.
    pub fn on_truncated(mut self, policy: OnTruncated) -> Self {
        self.fetch.on_truncated = policy;
        self
    }

    /// Looks the topic up, finds the offsets to begin with, and begins to fetch.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a setting beyond its bounds; [`Error::Refused`] with
    /// [`ErrorCode::UnknownTopic`](crate::ErrorCode::UnknownTopic) or
    /// [`ErrorCode::UnknownPartition`](crate::ErrorCode::UnknownPartition).
    pub async fn build(self) -> Result<Consumer, Error> {
        self.fetch.check()?;
        let topic = self.client.topic(&self.topic).await?;
        let partitions = self.partitions.unwrap_or_else(|| (0..topic.config.partitions).collect());
        for partition in &partitions {
            require_partition(&topic, *partition)?;
        }
        let (client, from, until) = (&self.client, self.from, self.until);
        let starts: Vec<(PartitionId, Start)> = stream::iter(partitions)
            .map(|index| async move {
                let partition = PartitionId { topic: topic.id, index };
                let offset = from.resolve(client, partition).await?;
                let end = match until {
                    Some(until) => Some(until.resolve(client, partition).await?),
                    None => None,
                };
                Ok::<_, Error>((partition, Start { offset, at_first: from == Position::First, end }))
            })
            .buffer_unordered(OFFSETS_IN_FLIGHT_MAX)
            .try_collect()
            .await?;
        let mut engine = Engine::new(self.client, self.fetch);
        let name = Arc::new(topic.name);
        for (partition, start) in starts {
            engine.add(partition, Arc::clone(&name), start);
        }
        Ok(Consumer::new(engine, topic.id))
    }
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            bytes: FETCH_BYTES_DEFAULT,
            max_wait: Duration::from_millis(500),
            serve_from: ServeFrom::Leader,
            node: None,
            on_truncated: OnTruncated::Error,
        }
    }
}

impl FetchSettings {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Self { bytes, max_wait, .. } = *self;
        if !(1..=FETCH_BYTES_MAX).contains(&bytes) {
            let message = format!("fetch_bytes is {bytes}, but must lie within 1..={FETCH_BYTES_MAX}");
            return Err(Error::InvalidArgument(message));
        }
        if max_wait > FETCH_WAIT_MAX {
            let message = format!("max_wait is {max_wait:?}, but must be at most {FETCH_WAIT_MAX:?}");
            return Err(Error::InvalidArgument(message));
        }
        Ok(())
    }
}
