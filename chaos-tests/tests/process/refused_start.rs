//! A node that must not start says why in one line, and the others do not mind.

use std::{fs, time::Duration};

use quorate_chaos_tests::harness::{Cluster, Node, NodeKind, WayIn, alone, free_ports};

const REFUSED_WITHIN: Duration = Duration::from_secs(15);

/// Starts a node that refuses to run; returns the line that says why.
async fn refusal(node: &mut Node) -> String {
    let logged = node.log().len();
    node.start();
    let status = node.exited(REFUSED_WITHIN).await;
    let log = node.log().split_off(logged);
    assert_eq!(status.code(), Some(1), "{log}");
    let mut reasons = log.lines().filter(|line| line.starts_with("quorate-node: "));
    let reason = reasons.next().unwrap_or_else(|| panic!("no reason: {log}")).to_owned();
    assert!(reasons.next().is_none() && log.lines().last() == Some(&reason), "not one last line: {log}");
    assert!(!log.contains("panicked"), "{log}");
    reason
}

/// A node beside the cluster, with ports of its own and no data.
fn outsider(cluster: &Cluster, name: &str, seeds: Option<&str>) -> Node {
    let ports = free_ports(2);
    let alone = format!("127.0.0.1:{}", ports[1]);
    let seeds = WayIn::Seeds(seeds.unwrap_or(&alone).to_owned());
    Node::new(NodeKind::Shipped, &cluster.directory().join(name), (ports[0], ports[1]), seeds)
}

async fn assert_goes_on(cluster: &Cluster) {
    let cli = cluster.cli();
    cli.ok(&["produce", "orders"], b"goes on\n").await;
    let read = cli.ok(&["consume", "orders"], b"").await;
    assert!(read.ends_with(b"goes on\n"), "{}", String::from_utf8_lossy(&read));
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_another_cluster_is_refused() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    cluster.create_topic(&client, "orders", 1).await;
    let mut other = Cluster::start(NodeKind::Shipped, 1).await;
    other.nodes[0].stop().await;
    cluster.nodes[2].kill_9();
    let place = cluster.directory().join("other");
    let third = &cluster.nodes[2];
    let mut intruder = Node::new(NodeKind::Shipped, &place, (third.client_port, third.peer_port), third.way_in.clone());
    fs::create_dir_all(&place).unwrap();
    fs::rename(&other.nodes[0].data_dir, &intruder.data_dir).unwrap();
    let reason = refusal(&mut intruder).await;
    println!("{reason}");
    assert!(reason.contains("belongs to cluster"), "{reason}");
    assert_goes_on(&cluster).await;
    cluster.nodes[2].start();
    cluster.wait_until_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_or_port_in_use_is_refused() {
    let _alone = alone().await;
    let cluster = Cluster::start(NodeKind::Shipped, 1).await;
    let used = &cluster.nodes[0];

    let mut same_data = outsider(&cluster, "same-data", None);
    same_data.data_dir.clone_from(&used.data_dir);
    let reason = refusal(&mut same_data).await;
    println!("{reason}");
    assert!(reason.contains("in use") && reason.contains("--data-dir"), "{reason}");

    let mut same_client_port = outsider(&cluster, "same-client-port", None);
    same_client_port.client_port = used.client_port;
    let reason = refusal(&mut same_client_port).await;
    println!("{reason}");
    assert!(reason.contains(&used.client_address()) && reason.contains("--listen"), "{reason}");

    let mut same_peer_port = outsider(&cluster, "same-peer-port", Some(&used.peer_address()));
    same_peer_port.peer_port = used.peer_port;
    let reason = refusal(&mut same_peer_port).await;
    println!("{reason}");
    assert!(reason.contains(&used.peer_address()) && reason.contains("--peer-listen"), "{reason}");

    let mut not_a_seed = outsider(&cluster, "not-a-seed", Some(&used.peer_address()));
    let reason = refusal(&mut not_a_seed).await;
    println!("{reason}");
    assert!(reason.contains("not among the seeds"), "{reason}");
    cluster.wait_until_up().await;
}
