//! All nodes are restarted one after the other under load, and no client sees an error.

use std::time::Instant;

use quorate_chaos_tests::harness::{Cluster, NodeKind, Reader, Writers, alone};

use crate::{assert_exactly_once, show, wait_until_healthy};

const PARTITIONS: u32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn producers_and_consumers_see_no_error_while_all_nodes_are_restarted() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic(&client, "orders", PARTITIONS).await;
    let writers = Writers::start(&cluster, &topic, 0, 3, PARTITIONS).await;
    let reader = Reader::start(&cluster, &topic).await;
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 30).await;
    for node in 0..cluster.nodes.len() {
        wait_until_healthy(&client).await;
        let began = Instant::now();
        cluster.nodes[node].stop().await;
        cluster.nodes[node].start();
        cluster.wait_until_up().await;
        show(&format!("node {} is back", node + 1), began.elapsed());
        writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 30).await;
    }
    let journal = writers.stop().await;
    let gaps = journal.longest_gaps(PARTITIONS);
    show("the longest time a partition took no record", gaps.into_iter().max().unwrap_or_default());
    reader.finish("the whole time", &journal).await;
    // It fails at the first record that was not acknowledged.
    assert_exactly_once("afterwards", &cluster, &topic, &journal).await;
}
