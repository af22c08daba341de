//! A topic is created while a node is down.

use std::time::{Duration, Instant};

use quorate_chaos_tests::harness::{Cluster, NodeKind, Writers, alone, connect, until};

use crate::{assert_exactly_once, show};

const PARTITIONS: u32 = 3;
/// An idle node with a dead peer may use this much of a processor.
const PROCESSOR_SHARE_MAX: f64 = 0.25;
/// Far more than a few seconds with a dead peer are worth.
const LOG_LINES_MAX: usize = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_created_while_a_node_is_down_works_and_heals_when_it_returns() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    cluster.nodes[2].kill_9();
    let client = cluster.client().await;
    let began = Instant::now();
    let topic = cluster.create_topic(&client, "orders", PARTITIONS).await;
    show("a topic is created and has leaders with one of three nodes down", began.elapsed());
    let writers = Writers::start(&cluster, &topic, 0, 2, PARTITIONS).await;
    let written = writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 30).await;
    show("30 records acknowledged on each partition", written);
    let ((), noticed) = until("the dead node is named", Duration::from_secs(10), async || {
        let health = cluster.cli().run(&["cluster", "health"], b"").await;
        assert_eq!(health.code, Some(1), "{health:?}");
        if health.stderr.contains("node 3") { Ok(()) } else { Err(health.stderr) }
    })
    .await;
    show("the dead node is named by `cluster health`", noticed);
    let journal = writers.stop().await;
    for node in &cluster.nodes[..2] {
        let lines = node.log().lines().count();
        println!("a survivor has written {lines} log lines");
        assert!(lines <= LOG_LINES_MAX, "a dead peer floods the log with {lines} lines:\n{}", node.log_tail());
    }

    cluster.nodes[2].start();
    cluster.wait_until_up().await;
    let (_, healed) = cluster.wait_until_replicas_agree(&client, &topic).await;
    show("the returned node has its replicas", healed);
    until("the cluster is healthy", Duration::from_secs(10), async || {
        let health = cluster.cli().run(&["cluster", "health"], b"").await;
        if health.code == Some(0) { Ok(()) } else { Err(health.stderr) }
    })
    .await;
    assert_exactly_once("created with a node down", &cluster, &topic, &journal).await;

    // It counts: with another node dead, the topic is still readable and writable.
    cluster.nodes[0].kill_9();
    let client = connect(&cluster.servers(), Duration::from_secs(15)).await;
    let writers = Writers::start(&cluster, &topic, 5, 1, PARTITIONS).await;
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 5).await;
    let journal = [journal, writers.stop().await].into_iter().flat_map(|journal| journal.entries).collect();
    assert_exactly_once(
        "with the healed node in the majority",
        &cluster,
        &topic,
        &quorate_chaos_tests::harness::Journal { entries: journal },
    )
    .await;
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_costs_the_idle_others_little() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    cluster.create_topic(&client, "orders", PARTITIONS).await;
    cluster.nodes[2].kill_9();
    until("the dead node is named", Duration::from_secs(10), async || {
        let health = cluster.cli().run(&["cluster", "health"], b"").await;
        if health.stderr.contains("node 3") { Ok(()) } else { Err(health.stderr) }
    })
    .await;
    let used = || cluster.nodes[..2].iter().map(|node| node.processor_time()).collect::<Option<Vec<_>>>();
    let (Some(before), began) = (used(), Instant::now()) else { return };
    // Not a wait for something: the time over which is measured.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (after, took) = (used().unwrap(), began.elapsed());
    for (after, before) in after.into_iter().zip(before) {
        let share = (after - before).as_secs_f64() / took.as_secs_f64();
        println!("a survivor uses {share:.2} of a processor");
        assert!(share <= PROCESSOR_SHARE_MAX, "a survivor uses {share:.2} of a processor with nothing to do");
    }
}
