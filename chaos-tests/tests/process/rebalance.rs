//! Replicas are moved while producers go on: nodes are told which racks they are in, and the cluster is rebalanced.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use quorate::{Client, NodeId, TopicConfig, TopicName};
use quorate_chaos_tests::harness::{Cluster, NodeKind, Writers, alone, until};

use crate::{assert_exactly_once, show};

const PARTITIONS: u32 = 6;
const MOVED_WITHIN: Duration = Duration::from_secs(60);

/// Which nodes hold each partition.
async fn placed(client: &Client, topic: &TopicName) -> BTreeMap<u32, Vec<u64>> {
    let partitions = client.topic(topic).await.unwrap().partitions;
    let nodes = |replicas: Vec<quorate::ReplicaInfo>| {
        let mut nodes: Vec<u64> = replicas.iter().map(|replica| replica.node.0).collect();
        nodes.sort_unstable();
        nodes
    };
    partitions.into_iter().map(|partition| (partition.index, nodes(partition.replicas))).collect()
}

/// Nodes 1 to 3, of which 1 and 2 are in a rack that they learn of at a restart, one after the other.
async fn tell_racks(cluster: &mut Cluster) {
    for (node, rack) in [(0, "a"), (1, "a"), (2, "b")] {
        cluster.nodes[node].stop().await;
        cluster.nodes[node].settings.push(("QUORATE_RACK".to_owned(), rack.to_owned()));
        cluster.nodes[node].start();
        cluster.wait_until_up().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_moved_to_span_racks_while_producers_go_on() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let topic: TopicName = "orders".parse().unwrap();
    let config = TopicConfig { partitions: PARTITIONS, replication_factor: 2, ..TopicConfig::default() };
    client.create_topic(&topic, config).await.unwrap();
    tell_racks(&mut cluster).await;
    let before = placed(&client, &topic).await;
    let within_one_rack: Vec<u32> =
        before.iter().filter(|(_, nodes)| **nodes == [1, 2]).map(|(partition, _)| *partition).collect();
    assert!(!within_one_rack.is_empty(), "{before:?}");
    let directories =
        |cluster: &Cluster| -> usize { cluster.nodes.iter().map(|node| node.replica_directories().len()).sum() };
    let replicas = directories(&cluster);

    let writers = Writers::start(&cluster, &topic, 0, 3, PARTITIONS).await;
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 50).await;
    let began = Instant::now();
    let said = cluster.cli().ok(&["cluster", "rebalance"], b"").await;
    show("rebalanced", began.elapsed());
    assert!(String::from_utf8(said).unwrap().starts_with("moved "));
    let after = placed(&client, &topic).await;
    assert!(after.values().all(|nodes| nodes.len() == 2 && nodes.contains(&3)), "{after:?}");
    let said = cluster.cli().ok(&["cluster", "rebalance"], b"").await;
    assert_eq!(String::from_utf8(said).unwrap(), "nothing is to be moved\n");
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 50).await;
    let journal = writers.stop().await;
    assert_exactly_once("after the moves", &cluster, &topic, &journal).await;
    cluster.wait_until_replicas_agree(&client, &topic).await;
    let deleted = async || match directories(&cluster) {
        now if now == replicas => Ok(()),
        now => Err(format!("{now} replica directories, {replicas} before")),
    };
    until("what was moved away is deleted", MOVED_WITHIN, deleted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_go_on_when_the_metadata_leader_is_killed() {
    let _alone = alone().await;
    // Slowly, so that the leader dies while replicas are on their way.
    let settings = [("QUORATE_RAFT__CATCH_UP_BYTES_PER_SECOND", "1MiB")];
    let mut cluster = Cluster::start_with(NodeKind::Shipped, 3, &settings).await;
    let client = cluster.client().await;
    let topic: TopicName = "orders".parse().unwrap();
    let config = TopicConfig { partitions: PARTITIONS, replication_factor: 2, ..TopicConfig::default() };
    client.create_topic(&topic, config).await.unwrap();
    tell_racks(&mut cluster).await;
    let writers = Writers::start(&cluster, &topic, 0, 3, PARTITIONS).await;
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 50).await;
    let said = cluster.cli().ok(&["cluster", "rebalance", "--wait", "0s"], b"").await;
    assert!(String::from_utf8(said).unwrap().contains("is being rebalanced"));
    let leader = client.cluster_info().await.unwrap().metadata_leader.unwrap();
    let victim = leader.0 as usize - 1;
    cluster.nodes[victim].kill_9();
    let another = async || match client.cluster_info().await.map(|info| info.metadata_leader) {
        Ok(Some(node)) if node != leader => Ok(node),
        other => Err(format!("{other:?}")),
    };
    let (_, took): (NodeId, _) = until("another metadata leader", MOVED_WITHIN, another).await;
    show("another metadata leader", took);
    cluster.nodes[victim].start();
    cluster.wait_until_up().await;
    let done = async || match client.tasks().await {
        Ok(tasks) if tasks.moves.is_empty() && !tasks.evening => Ok(()),
        other => Err(format!("{other:?}")),
    };
    let ((), took) = until("all moves are done", MOVED_WITHIN, done).await;
    show("all moves done after that", took);
    cluster.cli().ok(&["cluster", "rebalance"], b"").await;
    let after = placed(&client, &topic).await;
    assert!(after.values().all(|nodes| nodes.len() == 2 && nodes.contains(&3)), "{after:?}");
    let journal = writers.stop().await;
    assert_exactly_once("after the moves", &cluster, &topic, &journal).await;
    cluster.wait_until_replicas_agree(&client, &topic).await;
}
