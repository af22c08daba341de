//! The metadata log is given up as it is applied; a node that joins after that takes what is left over.

use std::{fs, path::PathBuf, time::Duration};

use futures::{StreamExt, stream};
use quorate::{NodeState, TopicAlteration};
use quorate_chaos_tests::harness::{Cluster, Node, NodeKind, WayIn, alone, until};

use crate::show;

const WITHIN: Duration = Duration::from_secs(30);
/// Enough for more than a segment of the metadata log: each is some 200 bytes of a MiB.
const CHANGES: u64 = 9_000;
const AT_ONCE: usize = 64;

/// The segments of a node's metadata log, whose replica has the node's number.
fn segments(node: &Node, number: usize) -> Vec<PathBuf> {
    let entries = fs::read_dir(node.data_dir.join(format!("replicas/replica-{number}"))).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_after_the_metadata_log_was_given_up() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic(&client, "orders", 3).await;
    let first: Vec<_> = (1..).zip(&cluster.nodes).map(|(number, node)| segments(node, number)[0].clone()).collect();
    let change = async |number: u64| {
        let alteration = TopicAlteration::default().retention_time(Some(Duration::from_secs(3_600 + number)));
        client.alter_topic(&topic, &alteration).await.unwrap();
    };
    stream::iter(0..CHANGES).for_each_concurrent(AT_ONCE, change).await;
    let last = TopicAlteration::default().retention_time(Some(Duration::from_secs(7_777)));
    client.alter_topic(&topic, &last).await.unwrap();
    let given_up = async || match first.iter().find(|path| path.exists()) {
        None => Ok(()),
        Some(path) => Err(format!("{} is there", path.display())),
    };
    show("the first segments of the metadata log are gone", until("they are gone", WITHIN, given_up).await.1);

    // A node that joins, and all of them after a restart, know what was decided.
    let seed = cluster.nodes[0].peer_address();
    cluster.start_another(WayIn::Join(seed));
    let up = async |cluster: &Cluster| {
        let info = cluster.client().await.cluster_info().await.map_err(|error| error.to_string())?;
        let up = info.nodes.iter().filter(|node| node.state == NodeState::Up).count();
        if up == 4 { Ok(()) } else { Err(format!("{:?}", info.nodes)) }
    };
    until("node 4 is there", WITHIN, async || up(&cluster).await).await;
    for node in &mut cluster.nodes {
        node.kill_9();
    }
    cluster.nodes.iter_mut().for_each(Node::start);
    until("all are back", WITHIN, async || up(&cluster).await).await;
    // A node answers from what it has applied, which is a moment later than that it is up.
    for node in &cluster.nodes {
        let client = quorate_chaos_tests::harness::connect(&node.client_address(), WITHIN).await;
        let knows = async || {
            let known = client.topic(&topic).await.map_err(|error| error.to_string())?.config.retention_time;
            if known == Some(Duration::from_secs(7_777)) { Ok(()) } else { Err(format!("it knows {known:?}")) }
        };
        until("the node knows the last change", WITHIN, knows).await;
    }
}
