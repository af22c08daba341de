//! A cluster to try things with.

use std::time::{SystemTime, UNIX_EPOCH};

use quorate::{Client, ErrorCode, TopicConfig, TopicInfo, TopicName};
use quorate_testing::Cluster;

use crate::Error;

/// A client, and the cluster if it is one of our own.
#[derive(Debug)]
pub struct Setup {
    /// The client.
    pub client: Client,
    /// What it is connected to, unless `QUORATE_SERVER` says otherwise. It ends when this is dropped.
    pub cluster: Option<Cluster>,
}

/// Connects to the cluster that `QUORATE_SERVER` names, or to three nodes of our own.
///
/// # Errors
/// If there is no cluster to be had.
pub async fn setup() -> Result<Setup, Error> {
    if let Ok(servers) = std::env::var("QUORATE_SERVER") {
        return Ok(Setup { client: Client::connect(&servers).await?, cluster: None });
    }
    let cluster = Cluster::start(3).await?;
    Ok(Setup { client: cluster.client().await?, cluster: Some(cluster) })
}

/// The topic of that name; it is created if there is none.
///
/// # Errors
/// As [`Client::create_topic`], but for a topic that exists.
pub async fn create_topic(client: &Client, name: &TopicName, partitions: u32) -> Result<TopicInfo, quorate::Error> {
    // What is rebuilt from its records must keep all of them.
    let config = TopicConfig { partitions, retention_time: None, retention_bytes: None, ..TopicConfig::default() };
    match client.create_topic(name, config).await {
        Err(error) if error.code() == Some(ErrorCode::TopicExists) => client.topic(name).await,
        created => created,
    }
}

/// Milliseconds since 1970 by this machine's clock.
#[must_use]
pub fn unix_time_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
