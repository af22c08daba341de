//! What the parts of the SDK's tour run in.

use quorate::{Client, Record, TopicName};
use quorate_testing::Cluster;

use crate::{Error, create_topic, unix_time_ms};

/// Runs a part of the tour with a cluster of its own, in which `orders` has three partitions and some records.
///
/// # Errors
/// That of the part, or of what it needs.
pub fn tour(part: impl AsyncFnOnce(Client, TopicName) -> Result<(), Error>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let cluster = Cluster::start(3).await?;
        let client = cluster.client().await?;
        let orders = TopicName::parse("orders")?;
        create_topic(&client, &orders, 3).await?;
        let producer = client.producer(&orders).build().await?;
        for number in 0..100 {
            drop(producer.send(Record::new(format!("order {number}"), unix_time_ms()).into()).await?);
        }
        producer.close().await?;
        part(client, orders).await
    })
}

/// Where a client is connected to.
///
/// # Errors
/// If the cluster does not answer.
pub async fn addresses(client: &Client) -> Result<String, Error> {
    let nodes = client.cluster_info().await?.nodes;
    Ok(nodes.iter().map(|node| node.client_address.to_string()).collect::<Vec<_>>().join(","))
}
