//! All nodes are killed at once.

use std::time::{Duration, Instant};

use quorate_chaos_tests::harness::{Cluster, Node, NodeKind, Writers, alone};

use crate::{assert_exactly_once, show};

const PARTITIONS: u32 = 4;
const WRITABLE_MAX: Duration = Duration::from_secs(10);

async fn everything_is_back(kind: NodeKind) {
    let _alone = alone().await;
    let mut cluster = Cluster::start(kind, 3).await;
    let client = cluster.client().await;
    let orders = cluster.create_topic(&client, "orders", PARTITIONS).await;
    let audit = cluster.create_topic(&client, "shop/audit", 1).await;
    let to_audit = Writers::start(&cluster, &audit, 9, 1, 1).await;
    to_audit.wait_for_acknowledged(Instant::now(), 1, 50).await;
    let to_audit = to_audit.stop().await;
    let writers = Writers::start(&cluster, &orders, 0, 3, PARTITIONS).await;
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 50).await;

    // In the midst of writes: what was acknowledged until now must come back, what was not may.
    cluster.nodes.iter_mut().for_each(Node::kill_9);
    let began = Instant::now();
    cluster.nodes.iter_mut().for_each(Node::start);
    writers.wait_for_acknowledged(began, PARTITIONS, 1).await;
    show("every partition acknowledges again after kill -9 of all nodes", began.elapsed());
    assert!(began.elapsed() <= WRITABLE_MAX, "writable only after {:?}", began.elapsed());
    let journal = writers.stop().await;

    let mut names: Vec<_> = client.topics().await.unwrap().into_iter().map(|topic| topic.name).collect();
    names.sort();
    let mut expected = [orders.clone(), audit.clone()];
    expected.sort();
    assert_eq!(names, expected);
    assert_exactly_once("the topic written to during the kill", &cluster, &orders, &journal).await;
    assert_exactly_once("the idle topic", &cluster, &audit, &to_audit).await;
    cluster.wait_until_replicas_agree(&client, &orders).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_and_topic_is_back_after_all_processes_were_killed() {
    everything_is_back(NodeKind::Shipped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_and_topic_is_back_after_all_nodes_lost_power() {
    everything_is_back(NodeKind::PowerLoss).await;
}
