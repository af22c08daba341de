//! Nodes come and go while producers and a consumer go on.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use quorate::{Client, ClusterInfo, NodeId, NodeState, TopicName};
use quorate_chaos_tests::harness::{Cluster, Journal, NodeKind, Reader, WayIn, Writers, alone, until};

use crate::{assert_exactly_once, show};

const PARTITIONS: u32 = 6;
const WITHIN: Duration = Duration::from_secs(30);

/// Producers and a consumer on one topic, checked in the end.
struct Traffic {
    topic: TopicName,
    writers: Writers,
    reader: Reader,
}

impl Traffic {
    async fn start(cluster: &Cluster) -> Self {
        let topic = cluster.create_topic(&cluster.client().await, "orders", PARTITIONS).await;
        let writers = Writers::start(cluster, &topic, 0, 3, PARTITIONS).await;
        let reader = Reader::start(cluster, &topic).await;
        let traffic = Self { topic, writers, reader };
        traffic.goes_on().await;
        traffic
    }

    async fn goes_on(&self) {
        let took = self.writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 30).await;
        show("30 more records acknowledged on each partition", took);
    }

    async fn finish(self, cluster: &Cluster) -> Journal {
        self.goes_on().await;
        let journal = self.writers.stop().await;
        let summary = self.reader.finish("the whole time", &journal).await;
        println!("read along: {} records", summary.records);
        assert_exactly_once("afterwards", cluster, &self.topic, &journal).await;
        journal
    }
}

/// A cluster of three whose client asks the surviving nodes, too.
async fn info(cluster: &Cluster) -> ClusterInfo {
    cluster.client().await.cluster_info().await.unwrap()
}

fn ids(info: &ClusterInfo) -> Vec<u64> {
    info.nodes.iter().map(|node| node.id.0).collect()
}

fn voters(info: &ClusterInfo) -> Vec<u64> {
    info.nodes.iter().filter(|node| node.metadata_voter).map(|node| node.id.0).collect()
}

async fn replicas(client: &Client, topic: &TopicName) -> BTreeMap<u64, usize> {
    let mut replicas = BTreeMap::new();
    for replica in client.topic(topic).await.unwrap().partitions.iter().flat_map(|partition| &partition.replicas) {
        *replicas.entry(replica.node.0).or_default() += 1;
    }
    replicas
}

/// Runs a command that has to succeed; returns what it printed.
async fn run(cluster: &Cluster, arguments: &[&str]) -> String {
    let ran = cluster.cli().run(arguments, b"").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    show(&ran.command, ran.took);
    String::from_utf8(ran.stdout).unwrap()
}

/// Starts a node that waits and adds it; its id is that of a node nobody had before.
async fn add(cluster: &mut Cluster) {
    let index = cluster.start_another(WayIn::Standby);
    let address = cluster.nodes[index].peer_address();
    let waits = async || match cluster.nodes[index].log() {
        log if log.contains("waiting to be added") => Ok(()),
        log => Err(log),
    };
    until("the node waits to be added", WITHIN, waits).await;
    let said = run(cluster, &["node", "add", &address]).await;
    let expected = format!("node {} at {address} is part of the cluster and has ", index + 1);
    assert!(said.starts_with(&expected), "{said}");
}

async fn remove(cluster: &mut Cluster, id: usize) {
    let said = run(cluster, &["node", "remove", &id.to_string()]).await;
    assert!(said.starts_with(&format!("node {id} is no part of the cluster any more")), "{said}");
    let status = cluster.nodes[id - 1].exited(WITHIN).await;
    assert!(status.success(), "{status}: {}", cluster.nodes[id - 1].log_tail());
    assert!(cluster.nodes[id - 1].log().contains("was removed from the cluster"));
}

async fn wait_until_voters(cluster: &Cluster, expected: &[u64]) {
    let looked = until("the voters of the metadata", WITHIN, async || match voters(&info(cluster).await) {
        now if now == expected => Ok(()),
        now => Err(format!("{now:?}")),
    });
    show(&format!("the metadata is voted on by {expected:?}"), looked.await.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_become_five_and_then_three_others() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let traffic = Traffic::start(&cluster).await;
    add(&mut cluster).await;
    add(&mut cluster).await;
    wait_until_voters(&cluster, &[1, 2, 3, 4, 5]).await;
    let client = cluster.client().await;
    let spread = replicas(&client, &traffic.topic).await;
    assert!(spread.len() == 5 && spread.values().all(|count| (3..=4).contains(count)), "{spread:?}");
    traffic.goes_on().await;

    remove(&mut cluster, 1).await;
    remove(&mut cluster, 2).await;
    add(&mut cluster).await;
    remove(&mut cluster, 3).await;
    wait_until_voters(&cluster, &[4, 5, 6]).await;
    assert_eq!(ids(&info(&cluster).await), [4, 5, 6]);
    let client = cluster.client().await;
    let spread = replicas(&client, &traffic.topic).await;
    assert_eq!(spread, [4, 5, 6].map(|node| (node, PARTITIONS as usize)).into());
    let topic = traffic.topic.clone();
    traffic.finish(&cluster).await;
    cluster.wait_until_replicas_agree(&client, &topic).await;
    // The cluster goes on without the nodes it formed of, also when all are started anew.
    for id in [4, 5, 6] {
        cluster.nodes[id - 1].stop().await;
    }
    for id in [4, 5, 6] {
        cluster.nodes[id - 1].start();
    }
    cluster.wait_until_replicas_agree(&client, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_is_removed_and_comes_back_as_another() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 4).await;
    let traffic = Traffic::start(&cluster).await;
    let victim = crate::busiest_leader(&cluster.client().await, &traffic.topic).await;
    let id = victim + 1;
    let early = cluster.cli().run(&["node", "remove", &id.to_string(), "--dead"], b"").await;
    assert!(early.code == Some(1) && early.stderr.contains("it is not dead"), "{early:?}");
    cluster.nodes[victim].kill_9();
    let down = async || match info(&cluster).await.nodes.iter().find(|node| node.id.0 == id as u64) {
        Some(node) if node.state == NodeState::Down => Ok(()),
        other => Err(format!("{other:?}")),
    };
    until("the node is down", WITHIN, down).await;
    let hasty = cluster.cli().run(&["node", "remove", &id.to_string()], b"").await;
    assert!(hasty.code == Some(1) && hasty.stderr.contains("--dead"), "{hasty:?}");
    traffic.goes_on().await;

    run(&cluster, &["node", "remove", &id.to_string(), "--dead"]).await;
    let left: Vec<u64> = (1..=4).filter(|node| *node != id as u64).collect();
    assert_eq!(ids(&info(&cluster).await), left);
    let client = cluster.client().await;
    let spread = replicas(&client, &traffic.topic).await;
    assert_eq!(spread, left.iter().map(|node| (*node, PARTITIONS as usize)).collect(), "all are rebuilt");
    wait_until_voters(&cluster, &left).await;
    traffic.goes_on().await;

    // With its data it is refused, and says what to do.
    cluster.nodes[victim].start();
    let status = cluster.nodes[victim].exited(WITHIN).await;
    let log = cluster.nodes[victim].log_tail();
    assert!(!status.success() && log.contains("was removed from cluster") && log.contains("--join"), "{log}");
    // Without, it is another node, by the seeds it was always given.
    fs::remove_dir_all(&cluster.nodes[victim].data_dir).unwrap();
    cluster.nodes[victim].start();
    let back = async || match info(&cluster).await {
        info if ids(&info).contains(&5) && info.nodes.iter().all(|node| node.state == NodeState::Up) => Ok(()),
        info => Err(format!("{:?}", info.nodes)),
    };
    let ((), took) = until("the node is back", WITHIN, back).await;
    show("the wiped node is back with a new id", took);
    run(&cluster, &["cluster", "tasks", "--watch"]).await;
    let spread = replicas(&client, &traffic.topic).await;
    assert!(spread.len() == 4 && spread.values().all(|count| (4..=5).contains(count)), "{spread:?}");
    traffic.finish(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_others_could_not_do_without_stays() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    cluster.create_topic(&client, "orders", 1).await;
    let refused = cluster.cli().run(&["node", "remove", "2"], b"").await;
    assert!(refused.code == Some(1) && refused.stderr.contains("replication factor of orders"), "{refused:?}");
    // It joins by itself, and a removal is cancelled.
    let seed = cluster.nodes[0].peer_address();
    cluster.start_another(WayIn::Join(seed));
    let joined = async || match info(&cluster).await.nodes.iter().find(|node| node.id == NodeId(4)) {
        Some(node) if node.state == NodeState::Up => Ok(()),
        other => Err(format!("{other:?}")),
    };
    until("node 4 is up", WITHIN, joined).await;
    run(&cluster, &["node", "remove", "2", "--wait", "0s"]).await;
    let said = run(&cluster, &["node", "remove", "2", "--cancel"]).await;
    assert_eq!(said, "node 2 stays\n");
    run(&cluster, &["cluster", "tasks", "--watch"]).await;
    assert_eq!(ids(&info(&cluster).await), [1, 2, 3, 4]);
    // One that is part of another cluster is not added.
    let other = Cluster::start(NodeKind::Shipped, 1).await;
    let refused = cluster.cli().run(&["node", "add", &other.nodes[0].peer_address()], b"").await;
    assert!(refused.code == Some(1) && refused.stderr.contains("part of cluster"), "{refused:?}");
    let silent = cluster.cli().run(&["node", "add", "127.0.0.1:1", "--timeout", "3s"], b"").await;
    assert!(silent.code == Some(1) && silent.stderr.contains("--standby"), "{silent:?}");
}
