//! A node that is asked to stop hands its leadership over first.

use std::time::{Duration, Instant};

use quorate_chaos_tests::harness::{Cluster, NodeKind, Writers, alone};

use crate::{assert_exactly_once, busiest_leader, show};

const PARTITIONS: u32 = 6;
/// Of the node, while others elect nobody. An election would take half a second at least; generous on a busy machine.
const GAP_MAX: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn producers_hardly_notice_that_the_busiest_leader_is_stopped() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic(&client, "orders", PARTITIONS).await;
    let writers = Writers::start(&cluster, &topic, 0, 3, PARTITIONS).await;
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 50).await;
    let victim = busiest_leader(&client, &topic).await;
    cluster.nodes[victim].stop().await;
    let log = cluster.nodes[victim].log();
    assert!(!log.contains("not all leadership could be handed over"), "{log}");
    let went_on = writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 50).await;
    show("50 records acknowledged on every partition after SIGTERM of its busiest leader", went_on);
    let journal = writers.stop().await;
    let gaps = journal.longest_gaps(PARTITIONS);
    println!("longest gap between acknowledgements, by partition: {gaps:.2?}");
    assert!(gaps.iter().all(|gap| *gap <= GAP_MAX), "{gaps:?}");
    assert_exactly_once("with a node stopped", &cluster, &topic, &journal).await;
    cluster.nodes[victim].start();
    cluster.wait_until_up().await;
    cluster.wait_until_replicas_agree(&client, &topic).await;
    assert_exactly_once("with the node back", &cluster, &topic, &journal).await;
}
