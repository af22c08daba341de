//! A deleted topic stays deleted, also where one of the same name follows.

use std::time::{Duration, Instant};

use quorate::{ErrorCode, Position, ProducerRecord, Record, TopicConfig, TopicName};
use quorate_chaos_tests::harness::{Cluster, NodeKind, alone, connect, consume_all, until};

const GONE_MAX: Duration = Duration::from_secs(15);

fn record(text: &'static str) -> ProducerRecord {
    Record::new(text, 1_700_000_000_000).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_of_a_deleted_topic_fail_and_the_recreated_one_is_empty() {
    let _alone = alone().await;
    let cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let before: Vec<_> = cluster.nodes.iter().map(|node| node.replica_directories()).collect();
    let topic: TopicName = cluster.create_topic(&client, "orders", 2).await;
    let producer = client.producer(&topic).partition(Some(0)).build().await.unwrap();
    producer.send(record("old")).await.unwrap().await.unwrap();
    let mut consumer = client.consumer(&topic).from(Position::First).build().await.unwrap();
    assert_eq!(consumer.poll(Duration::from_secs(5)).await.unwrap().len(), 1);
    let idle_producer = cluster.client().await.producer(&topic).build().await.unwrap();
    let of_topic: Vec<Vec<_>> = (cluster.nodes.iter().zip(&before))
        .map(|(node, before)| node.replica_directories().into_iter().filter(|path| !before.contains(path)).collect())
        .collect();
    assert!(of_topic.iter().all(|directories| directories.len() == 2), "{of_topic:?}");

    client.delete_topic(&topic).await.unwrap();
    assert_eq!(client.topic(&topic).await.unwrap_err().code(), Some(ErrorCode::UnknownTopic));
    let recreated = cluster.create_topic(&client, "orders", 2).await;

    for producer in [&producer, &idle_producer] {
        let began = Instant::now();
        let refused = match producer.send(record("late")).await {
            Ok(delivery) => delivery.await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(refused.code(), Some(ErrorCode::TopicDeleted), "{refused}");
        assert!(began.elapsed() < Duration::from_secs(5), "told after {:?}: {refused}", began.elapsed());
    }
    let refused = until("the old consumer is told", Duration::from_secs(10), async || {
        match consumer.poll(Duration::from_secs(1)).await {
            Ok(records) => {
                assert!(records.is_empty(), "a record of another topic: {records:?}");
                Err("nothing".to_owned())
            }
            Err(error) => Ok(error),
        }
    });
    let (refused, _) = refused.await;
    assert_eq!(refused.code(), Some(ErrorCode::TopicDeleted), "{refused}");
    assert!(consume_all(&client, &recreated).await.is_empty());

    let ((), took) = until("the deleted replicas' directories are gone", GONE_MAX, async || {
        match of_topic.iter().flatten().find(|directory| directory.exists()) {
            None => Ok(()),
            Some(directory) => Err(format!("{} is there", directory.display())),
        }
    })
    .await;
    crate::show("the directories of the deleted replicas are gone", took);
    let producer = client.producer(&recreated).partition(Some(0)).build().await.unwrap();
    assert_eq!(producer.send(record("new")).await.unwrap().await.unwrap().offset, 0);
    assert_eq!(consume_all(&client, &recreated).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_down_during_a_deletion_deletes_its_replicas_when_it_returns() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let before = cluster.nodes[1].replica_directories();
    let topic = cluster.create_topic(&client, "orders", 2).await;
    let count = cluster.nodes[1].replica_directories().len();
    assert_eq!(count, before.len() + 2);
    cluster.nodes[1].kill_9();
    until("the topic is deleted", Duration::from_secs(10), async || {
        client.delete_topic(&topic).await.map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(cluster.nodes[1].replica_directories().len(), count, "a dead node deletes nothing");
    cluster.nodes[1].start();
    until("the returned node has deleted its replicas", GONE_MAX, async || {
        let directories = cluster.nodes[1].replica_directories();
        if directories == before { Ok(()) } else { Err(format!("{directories:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_while_its_replicas_are_made_leaves_nothing() {
    let _alone = alone().await;
    let cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = connect(&cluster.servers(), Duration::from_secs(2)).await;
    let before: Vec<_> = cluster.nodes.iter().map(|node| node.replica_directories()).collect();
    let topic: TopicName = "many".parse().unwrap();
    let config = TopicConfig { partitions: 300, replication_factor: 3, ..TopicConfig::default() };
    let creating = tokio::spawn({
        let (client, topic) = (client.clone(), topic.clone());
        async move { client.create_topic(&topic, config).await }
    });
    until("the topic is there", GONE_MAX, async || client.topic(&topic).await.map_err(|error| error.to_string())).await;
    client.delete_topic(&topic).await.unwrap();
    // Whether it had leaders by then makes no difference.
    drop(creating.await.unwrap());
    let clean = async || {
        let now: Vec<_> = cluster.nodes.iter().map(|node| node.replica_directories()).collect();
        let left: usize = now.iter().map(Vec::len).sum::<usize>() - before.iter().map(Vec::len).sum::<usize>();
        if left == 0 { Ok(()) } else { Err(format!("{left} directories are left")) }
    };
    until("nothing is left of it", GONE_MAX, clean).await;
    // Nor does anything come later: longer than the cluster takes to forget that there was something.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(clean().await, Ok(()));
}
