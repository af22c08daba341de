//! A cluster inside of this process: it starts quickly, and keeps its promise through kills and cuts.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use futures::StreamExt;
use quorate::{Client, Name, NodeId, Position, Record, TopicConfig, TopicName};
use quorate_testing::{Cluster, TestingError};

fn orders() -> TopicName {
    TopicName::parse("orders").unwrap()
}

async fn append(client: &Client, values: std::ops::Range<u32>) {
    let producer = client.producer(&orders()).build().await.unwrap();
    for value in values {
        producer.send(Record::new(value.to_string(), 0).into()).await.unwrap().await.unwrap();
    }
}

async fn all(client: &Client) -> Vec<u32> {
    let consumer = client.consumer(&orders()).until(Position::Last).build().await.unwrap();
    let value = |record: Result<quorate::ConsumedRecord, _>| async move {
        std::str::from_utf8(&record.unwrap().record.value.unwrap()).unwrap().parse::<u32>().unwrap()
    };
    consumer.then(value).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_survives_a_power_cut_of_each_node_in_turn() {
    let began = Instant::now();
    let mut cluster = Cluster::start(3).await.unwrap();
    println!("three nodes are a cluster: {:.2?}", began.elapsed());
    let client = cluster.client().await.unwrap();
    client.create_topic(&orders(), TopicConfig::default()).await.unwrap();
    for node in 1..=3 {
        append(&client, 30 * u32::from(node) - 30..30 * u32::from(node) - 15).await;
        cluster.kill(node).unwrap();
        append(&client, 30 * u32::from(node) - 15..30 * u32::from(node)).await;
        cluster.restart(node).await.unwrap();
    }
    assert_eq!(all(&client).await, (0..90).collect::<Vec<_>>());
    // All at once, and all come back.
    (1..=3).for_each(|node| cluster.kill(node).unwrap());
    for node in 1..=3 {
        cluster.restart(node).await.unwrap();
    }
    assert_eq!(all(&client).await, (0..90).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_is_replaced_and_comes_back() {
    let mut cluster = Cluster::start(3).await.unwrap();
    let client = cluster.client().await.unwrap();
    let topic = client.create_topic(&orders(), TopicConfig::default()).await.unwrap();
    append(&client, 0..10).await;
    let NodeId(leader) = topic.partitions[0].leader.unwrap();
    let leader = u16::try_from(leader).unwrap();
    cluster.isolate(leader).unwrap();
    append(&client, 10..20).await;
    cluster.heal();
    cluster.wait_until_up().await.unwrap();
    append(&client, 20..30).await;
    assert_eq!(all(&client).await, (0..30).collect::<Vec<_>>());
    // Gently, too.
    cluster.stop(leader).await.unwrap();
    append(&client, 30..40).await;
    cluster.restart(leader).await.unwrap();
    assert_eq!(all(&client).await, (0..40).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_work_in_it_as_anywhere() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = cluster.client().await.unwrap();
    let config = TopicConfig { partitions: 2, replication_factor: 1, ..TopicConfig::default() };
    client.create_topic(&orders(), config).await.unwrap();
    append(&client, 0..10).await;
    let group = Name::parse("billing").unwrap();
    let mut member = client.group_consumer(&group, [orders()]).build().await.unwrap();
    let mut polled = 0;
    while polled < 10 {
        polled += member.poll(Duration::from_secs(1)).await.unwrap().len();
    }
    member.commit().await.unwrap();
    member.close().await.unwrap();
    let committed: u64 = client.group(&group).await.unwrap().committed.iter().map(|(_, at)| at.offset).sum();
    assert_eq!(committed, 10);
}

#[tokio::test]
async fn misuse_is_told_in_one_line() {
    assert!(matches!(Cluster::start(0).await, Err(TestingError::Size(0))));
    let mut cluster = Cluster::start(1).await.unwrap();
    assert!(matches!(cluster.kill(2), Err(TestingError::NoSuchNode { node: 2, size: 1 })));
    assert!(matches!(cluster.restart(1).await, Err(TestingError::State { node: 1, .. })));
    cluster.kill(1).unwrap();
    assert!(matches!(cluster.kill(1), Err(TestingError::State { node: 1, .. })));
}
