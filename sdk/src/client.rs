//! The handle of a cluster.

use std::{sync::Arc, time::Duration};

use quorate_cluster_config::{Address, Name, TopicName};

use crate::{
    builder::ClientBuilder,
    consumer::ConsumerBuilder,
    error::Error,
    group::GroupConsumerBuilder,
    producer::ProducerBuilder,
    routing::{Call, Router},
};

/// A cluster, reached through any of its nodes. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    router: Arc<Router>,
    timeout: Duration,
}

impl Client {
    /// Connects to a cluster through any of the addresses in `servers`, as in `"10.0.0.1:7101,10.0.0.2:7101"`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a list that is none, [`Error::Unreachable`] if no node answers in time.
    pub async fn connect(servers: &str) -> Result<Self, Error> {
        let servers = Address::parse_list(servers).map_err(|error| Error::InvalidArgument(error.to_string()))?;
        Self::builder().servers(servers).connect().await
    }

    /// Settings other than the defaults.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) fn new(servers: Vec<Address>, timeout: Duration) -> Self {
        Self { router: Arc::new(Router::new(servers)), timeout }
    }

    /// The bound on every call, its retries included.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A producer of records to `topic`, to be configured and built.
    pub fn producer(&self, topic: &TopicName) -> ProducerBuilder {
        ProducerBuilder::new(self.clone(), topic.clone())
    }

    /// A consumer of the records of `topic`, to be configured and built.
    pub fn consumer(&self, topic: &TopicName) -> ConsumerBuilder {
        ConsumerBuilder::new(self.clone(), topic.clone())
    }

    /// A member of a consumer group that shares the partitions of these topics, to be configured and built.
    pub fn group_consumer(&self, group: &Name, topics: impl IntoIterator<Item = TopicName>) -> GroupConsumerBuilder {
        GroupConsumerBuilder::new(self.clone(), group.clone(), topics.into_iter().collect())
    }

    pub(crate) fn router(&self) -> &Arc<Router> {
        &self.router
    }

    pub(crate) fn call(&self, action: impl Into<String>) -> Call {
        Call::new(action, self.timeout)
    }
}
