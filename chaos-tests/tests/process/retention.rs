//! Old records are deleted, on all nodes; a node that missed it catches up; positions by time and follower reads.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quorate::{Client, Position, ServeFrom, TopicConfig, TopicName};
use quorate_chaos_tests::harness::{Cluster, NodeKind, alone, until};

/// Retention is looked at all the time.
const OFTEN: (&str, &str) = ("QUORATE_RETENTION__CHECK_INTERVAL", "200ms");
const TRIMMED_MAX: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;

fn lines(first: usize, count: usize) -> Vec<u8> {
    let filler = "x".repeat(1000);
    (first..first + count).flat_map(|number| format!("{number} {filler}\n").into_bytes()).collect()
}

async fn log_start(client: &Client, topic: &TopicName) -> u64 {
    client.offset(topic, 0, quorate::OffsetQuery::First).await.unwrap()
}

/// The numbers of all lines that a consumer from these replicas gets, from its first to the end of the topic.
async fn numbers(client: &Client, topic: &TopicName, serve_from: ServeFrom, end: u64) -> Vec<u64> {
    let mut consumer = client.consumer(topic).from(Position::First).serve_from(serve_from).build().await.unwrap();
    let mut numbers = Vec::new();
    let mut next = 0;
    while next < end {
        let records = consumer.poll(Duration::from_secs(10)).await.unwrap();
        assert!(!records.is_empty(), "nothing more comes behind offset {next} of {end}");
        for record in records {
            let value = record.record.value.unwrap();
            let number = value.split(|byte| *byte == b' ').next().unwrap();
            numbers.push(std::str::from_utf8(number).unwrap().parse().unwrap());
            next = record.offset + 1;
        }
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_keeps_so_many_bytes_and_a_node_that_was_down_follows() {
    let _alone = alone().await;
    let mut cluster = Cluster::start_with(NodeKind::PowerLoss, 3, &[OFTEN]).await;
    let client = cluster.client().await;
    let topic: TopicName = "orders".parse().unwrap();
    let config = TopicConfig {
        segment_bytes: MIB,
        retention_bytes: Some(3 * MIB),
        replication_factor: 3,
        ..TopicConfig::default()
    };
    client.create_topic(&topic, config).await.unwrap();
    cluster.cli().ok(&["produce", "orders"], &lines(0, 1_000)).await;
    cluster.wait_until_replicas_agree(&client, &topic).await;
    // One is down while most of what it has is deleted.
    cluster.nodes[2].kill_9();
    cluster.cli().ok(&["produce", "orders"], &lines(1_000, 9_000)).await;
    let start = until("old records are deleted", TRIMMED_MAX, async || match log_start(&client, &topic).await {
        start if start > 3_000 => Ok(start),
        start => Err(format!("the log starts at {start}")),
    });
    let (start, _) = start.await;
    cluster.nodes[2].start();
    cluster.wait_until_up().await;
    cluster.wait_until_replicas_agree(&client, &topic).await;
    let small = async || {
        let info = client.topic(&topic).await.map_err(|error| error.to_string())?;
        let replicas = &info.partitions[0].replicas;
        // What is kept, a segment that is just being filled, and one that is about to go.
        let large = replicas.iter().find(|replica| replica.log_bytes > 6 * MIB || replica.log_bytes < 2 * MIB);
        large.map_or(Ok(()), |replica| Err(format!("{replica:?}")))
    };
    until("all disks are relieved", TRIMMED_MAX, small).await;

    // Whoever serves: all that is retained, and nothing else.
    for serve_from in [ServeFrom::Leader, ServeFrom::AnyReplica] {
        let numbers = numbers(&client, &topic, serve_from, 10_000).await;
        let expected: Vec<u64> = (10_000 - numbers.len() as u64..10_000).collect();
        assert_eq!(numbers, expected, "{serve_from:?}");
        assert!(numbers[0] >= start.min(7_000), "{serve_from:?} begins at {}", numbers[0]);
    }
    let line = cluster.cli().refused(1, &["consume", "orders", "--from", "5"], b"").await;
    assert!(line.contains("below its first retained offset"), "{line}");
    // A power cut of all.
    cluster.nodes.iter_mut().for_each(quorate_chaos_tests::harness::Node::kill_9);
    cluster.nodes.iter_mut().for_each(quorate_chaos_tests::harness::Node::start);
    cluster.wait_until_up().await;
    assert!(log_start(&client, &topic).await >= start);
    cluster.cli().ok(&["produce", "orders"], &lines(10_000, 10)).await;
    assert_eq!(numbers(&client, &topic, ServeFrom::Leader, 10_010).await.last(), Some(&10_009));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_kept_for_a_time_and_found_by_time() {
    let _alone = alone().await;
    let cluster = Cluster::start_with(NodeKind::Shipped, 3, &[OFTEN]).await;
    let client = cluster.client().await;
    let topic: TopicName = "orders".parse().unwrap();
    let kept = Duration::from_secs(8);
    let config = TopicConfig { retention_time: Some(kept), ..TopicConfig::default() };
    client.create_topic(&topic, config).await.unwrap();
    cluster.cli().ok(&["produce", "orders"], &lines(0, 10)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let between = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    tokio::time::sleep(Duration::from_millis(50)).await;
    cluster.cli().ok(&["produce", "orders"], &lines(10, 10)).await;
    assert_eq!(client.offset_at_time(&topic, 0, between).await.unwrap(), 10);
    assert_eq!(client.offset_at_time(&topic, 0, 0).await.unwrap(), 0);
    assert_eq!(client.offset_at_time(&topic, 0, i64::MAX).await.unwrap(), 20, "the end, if there is nothing later");
    let from = format!("@{between}");
    let read = cluster.cli().ok(&["consume", "orders", "--from", &from], b"").await;
    assert!(read.starts_with(b"10 ") && read.iter().filter(|byte| **byte == b'\n').count() == 10);
    // The active segment goes too, once all of it is too old.
    until("all records are deleted", TRIMMED_MAX, async || match log_start(&client, &topic).await {
        20 => Ok(()),
        start => Err(format!("the log starts at {start}")),
    })
    .await;
    cluster.cli().ok(&["produce", "orders"], b"20 new\n").await;
    assert_eq!(numbers(&client, &topic, ServeFrom::Leader, 21).await, [20]);
}
