//! A node that is drained for maintenance, and leads again afterwards.

use std::time::{Duration, Instant};

use quorate::{Client, NodeId, NodeInfo};
use quorate_chaos_tests::harness::{Cluster, NodeKind, Writers, alone, until};

use crate::{assert_exactly_once, busiest_leader, show};

const PARTITIONS: u32 = 6;
/// Until all nodes lead alike: the cluster must have been calm for some seconds before leadership moves for that.
const EVEN_WITHIN: Duration = Duration::from_secs(60);

async fn nodes(client: &Client) -> (Vec<NodeInfo>, Option<NodeId>) {
    let info = client.cluster_info().await.unwrap();
    (info.nodes, info.metadata_leader)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_leads_nothing_until_it_is_undrained() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic(&client, "orders", PARTITIONS).await;
    let writers = Writers::start(&cluster, &topic, 0, 3, PARTITIONS).await;
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 50).await;
    let victim = busiest_leader(&client, &topic).await;
    let id = NodeId(victim as u64 + 1);
    let number = id.to_string();

    let said = cluster.cli().ok(&["node", "drain", &number], b"").await;
    assert!(String::from_utf8(said).unwrap().contains("leads nothing"));
    let leads_nothing = async || {
        let (nodes, metadata_leader) = nodes(&client).await;
        let node = nodes.iter().find(|node| node.id == id).unwrap().clone();
        let nothing = node.drained && node.leader_count == 0 && metadata_leader != Some(id);
        if nothing { Ok(node) } else { Err(format!("{node:?}, the metadata is led by {metadata_leader:?}")) }
    };
    leads_nothing().await.unwrap();
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 50).await;

    cluster.nodes[victim].stop().await;
    cluster.nodes[victim].settings.push(("QUORATE_RACK".to_owned(), "cellar".to_owned()));
    cluster.nodes[victim].start();
    cluster.wait_until_up().await;
    // It says where it is, and in which rack, a moment after it is up.
    let in_its_rack = async || {
        let node = leads_nothing().await?;
        let rack = node.rack.map(|rack| rack.to_string());
        if rack.as_deref() == Some("cellar") { Ok(()) } else { Err(format!("its rack is {rack:?}")) }
    };
    until("the node leads nothing and is in its rack after its restart", EVEN_WITHIN, in_its_rack).await;

    cluster.cli().ok(&["node", "undrain", &number], b"").await;
    let even = async || {
        let (nodes, _) = nodes(&client).await;
        let leads: Vec<u32> = nodes.iter().map(|node| node.leader_count).collect();
        if leads == [2, 2, 2] { Ok(()) } else { Err(format!("{leads:?}")) }
    };
    let ((), took) = until("all nodes lead alike", EVEN_WITHIN, even).await;
    show("all nodes lead alike after one was undrained", took);
    let journal = writers.stop().await;
    assert_exactly_once("after a drain, a restart and its end", &cluster, &topic, &journal).await;

    let said = cluster.cli().refused(1, &["node", "drain", "9"], b"").await;
    assert!(said.contains("node 9 is not registered"), "{said}");
}
