//! Nodes of an older and a newer build in one cluster: what they all understand rises when the last of them is upgraded.

use std::time::{Duration, Instant};

use quorate::Client;
use quorate_chaos_tests::harness::{Cluster, NodeKind, Writers, alone, until};

use crate::{assert_exactly_once, show, wait_until_healthy};

const PARTITIONS: u32 = 6;
const WITHIN: Duration = Duration::from_secs(30);
/// What has a node say that it understands one level, and one version of the peer protocol, more than this build does.
const LATER: (&str, &str) = ("CHAOS_NODE_LATER", "1");

async fn level(client: &Client) -> u32 {
    client.cluster_info().await.unwrap().metadata_level
}

#[tokio::test(flavor = "multi_thread")]
async fn older_and_newer_nodes_work_together_and_there_is_no_way_back() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::PowerLoss, 3).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic(&client, "orders", PARTITIONS).await;
    let writers = Writers::start(&cluster, &topic, 0, 3, PARTITIONS).await;
    for node in 0..3 {
        assert_eq!(level(&client).await, 1, "as long as one of them is older");
        wait_until_healthy(&client).await;
        cluster.nodes[node].stop().await;
        cluster.nodes[node].settings.push((LATER.0.to_owned(), LATER.1.to_owned()));
        cluster.nodes[node].start();
        cluster.wait_until_up().await;
        writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 30).await;
    }
    let risen = async || match level(&client).await {
        2 => Ok(()),
        level => Err(format!("level {level}")),
    };
    let ((), took) = until("the level rises", WITHIN, risen).await;
    show("the level has risen", took);
    wait_until_healthy(&client).await;
    // An older build does not touch what it does not understand, and says what to do.
    cluster.nodes[2].stop().await;
    let newer = std::mem::take(&mut cluster.nodes[2].settings);
    cluster.nodes[2].start();
    let status = cluster.nodes[2].exited(WITHIN).await;
    let log = cluster.nodes[2].log_tail();
    assert!(!status.success() && log.contains("at level 2") && log.contains("run a newer build"), "{log}");
    cluster.nodes[2].settings = newer;
    cluster.nodes[2].start();
    cluster.wait_until_up().await;
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 30).await;
    let journal = writers.stop().await;
    assert_exactly_once("afterwards", &cluster, &topic, &journal).await;
}
