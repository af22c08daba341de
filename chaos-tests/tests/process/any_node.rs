//! Whatever node is asked, the answer is the same.

use std::time::Duration;

use quorate_chaos_tests::harness::{Cli, Cluster, NodeKind, alone, until};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn every_command_works_through_every_node() {
    let _alone = alone().await;
    let cluster = Cluster::start(NodeKind::Shipped, 3).await;
    for (number, node) in (1..).zip(&cluster.nodes) {
        let cli = Cli::new(&node.client_address());
        let name = format!("orders-{number}");
        let info = cli.ok(&["cluster", "info", "--output", "json"], b"").await;
        let info: Value = serde_json::from_slice(&info).unwrap();
        assert_eq!(info["answered_by"], number);
        // What a node knows of the others' replicas is up to a second old: new ones are not all heard of yet.
        until("the cluster is healthy", Duration::from_secs(10), async || {
            let health = cli.run(&["cluster", "health"], b"").await;
            if health.code == Some(0) { Ok(()) } else { Err(health.stderr) }
        })
        .await;
        let nodes = String::from_utf8(cli.ok(&["node", "list"], b"").await).unwrap();
        assert!(cluster.nodes.iter().all(|node| nodes.contains(&node.client_address())), "{nodes}");
        cli.ok(&["topic", "create", &name, "--partitions", "3"], b"").await;
        cli.ok(&["produce", &name, "--key-separator", ":"], b"a:1\nb:2\nc:3\nd:4\n").await;
        let bench = ["bench", "produce", "--messages", "100", "--size", "20"];
        cli.ok(&bench, b"").await;
        // What one node has confirmed, every other shows at once.
        for other in &cluster.nodes {
            let cli = Cli::new(&other.client_address());
            let described = String::from_utf8(cli.ok(&["topic", "describe", &name], b"").await).unwrap();
            assert!(described.contains("leader"), "{described}");
            let consumed = cli.ok(&["consume", &name, "--format", "%k=%v\n"], b"").await;
            let mut lines: Vec<_> = std::str::from_utf8(&consumed).unwrap().lines().collect();
            lines.sort_unstable();
            assert_eq!(lines, ["a=1", "b=2", "c=3", "d=4"]);
        }
    }
    for (number, node) in (1..).zip(cluster.nodes.iter().rev()) {
        let cli = Cli::new(&node.client_address());
        let list = String::from_utf8(cli.ok(&["topic", "list"], b"").await).unwrap();
        assert!(list.contains(&format!("orders-{number}")), "{list}");
        cli.ok(&["topic", "delete", &format!("orders-{number}"), "--yes"], b"").await;
    }
    assert_eq!(cluster.cli().ok(&["topic", "list", "--output", "json"], b"").await.trim_ascii(), b"[]");
}
