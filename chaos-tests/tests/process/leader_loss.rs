//! A leader is killed while producers write.

use std::time::{Duration, Instant};

use quorate_chaos_tests::harness::{Cluster, NodeKind, Writers, alone};

use crate::{assert_exactly_once, busiest_leader, show};

const PARTITIONS: u32 = 6;
/// Generous: on a busy machine. Expected are 3 s.
const GAP_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn producers_go_on_after_the_busiest_leader_is_killed_and_it_catches_up() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic(&client, "orders", PARTITIONS).await;
    let writers = Writers::start(&cluster, &topic, 0, 3, PARTITIONS).await;
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 50).await;

    let victim = busiest_leader(&client, &topic).await;
    cluster.nodes[victim].kill_9();
    let went_on = writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 50).await;
    show("50 records acknowledged on every partition after kill -9 of its busiest leader", went_on);
    let journal = writers.stop().await;
    let gaps = journal.longest_gaps(PARTITIONS);
    println!("longest gap between acknowledgements, by partition: {gaps:.2?}");
    assert!(gaps.iter().all(|gap| *gap <= GAP_MAX), "{gaps:?}");
    assert_exactly_once("with a node dead", &cluster, &topic, &journal).await;

    cluster.nodes[victim].start();
    let (_, caught_up) = cluster.wait_until_replicas_agree(&client, &topic).await;
    show("the restarted node has caught up", caught_up);
    cluster.wait_until_up().await;
    assert_exactly_once("with the node back", &cluster, &topic, &journal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_after_the_other_is_killed_and_restarted_under_load() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::PowerLoss, 3).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic(&client, "orders", PARTITIONS).await;
    let writers = Writers::start(&cluster, &topic, 0, 3, PARTITIONS).await;
    for victim in 0..3 {
        writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 20).await;
        cluster.nodes[victim].kill_9();
        writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 20).await;
        cluster.nodes[victim].start();
        cluster.wait_until_up().await;
    }
    let journal = writers.stop().await;
    println!("longest gap between acknowledgements, by partition: {:.2?}", journal.longest_gaps(PARTITIONS));
    cluster.wait_until_replicas_agree(&client, &topic).await;
    assert_exactly_once("three power cuts in turn", &cluster, &topic, &journal).await;
}
