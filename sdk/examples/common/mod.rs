//! What the examples share: the command line and the topic.

use std::{env, error::Error};

use quorate::{Client, ErrorCode, TopicConfig, TopicInfo, TopicName};

/// Connects to `--server HOST:PORT[,HOST:PORT…]`, else to `$QUORATE_SERVER`, else to `127.0.0.1:7101`.
pub(crate) async fn connect() -> Result<Client, Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut servers = env::var("QUORATE_SERVER").unwrap_or_else(|_| "127.0.0.1:7101".into());
    while let Some(argument) = arguments.next() {
        servers = match (argument.as_str(), argument.strip_prefix("--server=")) {
            ("--server", _) => arguments.next().ok_or("--server needs an address: HOST:PORT[,HOST:PORT…]")?,
            (_, Some(servers)) => servers.into(),
            _ => return Err(format!("unknown argument {argument:?}; the only one is --server HOST:PORT").into()),
        };
    }
    Ok(Client::connect(&servers).await?)
}

/// The topic of this name, created with as many replicas as there are nodes, up to three, if it does not exist.
#[allow(dead_code, reason = "each example uses what it needs")]
pub(crate) async fn topic(client: &Client, name: &str, partitions: u32) -> Result<TopicInfo, Box<dyn Error>> {
    let name: TopicName = name.parse()?;
    let replication_factor = client.cluster_info().await?.nodes.len().clamp(1, 3) as u32;
    let config = TopicConfig { partitions, replication_factor, ..TopicConfig::default() };
    match client.create_topic(&name, config).await {
        Err(error) if error.code() == Some(ErrorCode::TopicExists) => Ok(client.topic(&name).await?),
        created => Ok(created?),
    }
}

/// Milliseconds since the Unix epoch.
#[allow(dead_code, reason = "each example uses what it needs")]
pub(crate) fn now_ms() -> i64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    elapsed.as_millis().try_into().unwrap_or(i64::MAX)
}
