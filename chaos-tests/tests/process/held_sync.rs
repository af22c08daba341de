//! A leader whose disk does not sync is killed: it may have led records into a commit that its own disk never saw.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use quorate_chaos_tests::harness::{Cluster, LoggedEntry, Node, NodeKind, Writers, alone, read_replica};

use crate::{assert_exactly_once, busiest_leader, show};

/// Long beyond the time any acknowledgement takes.
const SILENCE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_killed_while_its_syncs_are_held_loses_nothing_that_was_acknowledged() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::PowerLoss, 3).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic(&client, "orders", 1).await;
    let writers = Writers::start(&cluster, &topic, 0, 2, 1).await;
    writers.wait_for_acknowledged(Instant::now(), 1, 50).await;

    let leader = busiest_leader(&client, &topic).await;
    cluster.nodes[leader].hold_sync(true);
    let acknowledged = writers.wait_for_acknowledged(Instant::now(), 1, 200).await;
    show("200 records acknowledged while the leader's syncs are held", acknowledged);
    let still = busiest_leader(&client, &topic).await;
    println!("the leader {} while its syncs were held", if still == leader { "stayed" } else { "changed" });
    cluster.nodes[leader].kill_9();
    cluster.nodes[leader].hold_sync(false);
    cluster.nodes[leader].start();
    let went_on = writers.wait_for_acknowledged(Instant::now(), 1, 50).await;
    show("50 records acknowledged after the kill", went_on);
    let journal = writers.stop().await;

    cluster.wait_until_up().await;
    cluster.wait_until_replicas_agree(&client, &topic).await;
    assert_exactly_once("syncs held, then killed", &cluster, &topic, &journal).await;
    let info = client.topic(&topic).await.unwrap();
    let id = client.cluster_info().await.unwrap().cluster_id;
    for node in &mut cluster.nodes {
        node.stop().await;
    }
    let logs: BTreeMap<_, _> = (info.partitions[0].replicas.iter())
        .map(|replica| {
            let directory = format!("replicas/replica-{}", replica.id.0);
            let node = &cluster.nodes[replica.node.0 as usize - 1];
            (replica.node, read_replica(&node.data_dir.join(directory), id, replica.id.0))
        })
        .collect();
    assert_identical(logs.values());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_that_is_not_on_the_disks_of_a_majority() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::PowerLoss, 3).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic(&client, "orders", 1).await;
    let writers = Writers::start(&cluster, &topic, 0, 2, 1).await;
    writers.wait_for_acknowledged(Instant::now(), 1, 50).await;

    cluster.nodes[..2].iter().for_each(|node| node.hold_sync(true));
    // What was synced before may still be acknowledged for a moment; producers go on sending all the time.
    writers.wait_for_silence(SILENCE).await;
    cluster.nodes.iter_mut().for_each(Node::kill_9);
    cluster.nodes[..2].iter().for_each(|node| node.hold_sync(false));
    cluster.nodes.iter_mut().for_each(Node::start);
    let went_on = writers.wait_for_acknowledged(Instant::now(), 1, 50).await;
    show("50 records acknowledged after the power cut", went_on);
    let journal = writers.stop().await;
    cluster.wait_until_replicas_agree(&client, &topic).await;
    assert_exactly_once("a majority lost what it had not synced", &cluster, &topic, &journal).await;
}

/// Replicas hold the same entries; those stopped later may have seen another election.
fn assert_identical<'a>(logs: impl Iterator<Item = &'a Vec<LoggedEntry>> + Clone) {
    let batches = |log: &Vec<LoggedEntry>| log.iter().filter(|entry| entry.is_batch).count();
    let shortest = logs.clone().map(Vec::len).min().unwrap();
    let first = logs.clone().next().unwrap();
    for log in logs {
        assert_eq!(batches(log), batches(first), "record batches");
        for (ours, theirs) in log.iter().zip(first).take(shortest) {
            assert_eq!(ours, theirs);
        }
    }
    println!("3 replicas hold the same {} record batches among {shortest} entries", batches(first));
}
