//! What programs read: every command with `--output json`.

use quorate_chaos_tests::harness::{Cli, Cluster, NodeKind, alone, binary, free_ports};
use serde_json::Value;

async fn json(cli: &Cli, arguments: &[&str], input: &[u8]) -> Value {
    let printed = cli.ok(&[arguments, &["--output", "json"]].concat(), input).await;
    serde_json::from_slice(&printed)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", String::from_utf8_lossy(&printed)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_prints_json_that_parses() {
    let _alone = alone().await;
    let cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let cli = cluster.cli();
    assert_eq!(json(&cli, &["cluster", "info"], b"").await["nodes_up"], 3);
    assert_eq!(json(&cli, &["cluster", "health"], b"").await["healthy"], true);
    assert_eq!(json(&cli, &["node", "list"], b"").await.as_array().map(Vec::len), Some(3));
    assert_eq!(json(&cli, &["topic", "create", "orders", "--partitions", "2"], b"").await["partitions"], 2);
    assert_eq!(json(&cli, &["produce", "orders"], b"a\nb\n\xff\n").await["records"], 3);
    assert!(json(&cli, &["topic", "list"], b"").await.to_string().contains("\"orders\""));
    let described = json(&cli, &["topic", "describe", "orders"], b"").await;
    assert_eq!(described["partitions"].as_array().map(Vec::len), Some(2));
    for format in [&["--format", "json"][..], &["--output", "json"]] {
        let consumed = cli.ok(&[&["consume", "orders"], format].concat(), b"").await;
        let records: Vec<Value> =
            serde_json::Deserializer::from_slice(&consumed).into_iter().map(Result::unwrap).collect();
        assert_eq!(records.len(), 3, "{format:?}");
        assert_eq!(records.iter().filter(|record| record["value_base64"] == "/w==").count(), 1, "{records:?}");
    }
    let bench = json(&cli, &["bench", "produce", "--messages", "200", "--size", "50"], b"").await;
    for field in ["system", "workload", "messages", "size_bytes", "partitions", "replicas", "seconds", "messages_per_s"]
    {
        assert!(!bench[field].is_null(), "{field}: {bench}");
    }
    assert!(bench["mb_per_s"].is_number() && bench["ack_ms"]["p999"].is_number(), "{bench}");
    let bench = json(&cli, &["bench", "consume", "--topic", "orders"], b"").await;
    assert_eq!(bench["messages"], 3);
    assert_eq!(json(&cli, &["topic", "delete", "orders", "--yes"], b"").await["deleted"], "orders");
    assert_eq!(json(&cli, &["topic", "list"], b"").await.as_array().map(Vec::len), Some(0), "the benchmark's is gone");

    let failed = cli.refused(1, &["topic", "describe", "orders", "--output", "json"], b"").await;
    let failed: Value = serde_json::from_str(&failed).unwrap();
    assert_eq!(failed["error"]["code"], "UnknownTopic");
    assert_eq!(failed["error"]["retryable"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_cluster_starts_survives_a_kill_and_stops() {
    let _alone = alone().await;
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("cluster");
    let dir = dir.to_str().unwrap();
    // Peers listen a hundred ports above.
    let base_port = free_ports(103)[0].to_string();
    let cli = Cli::of(&binary("quorate"));
    let local = LocalCluster { cli: cli.clone(), dir: dir.to_owned() };
    let started = json(&cli, &["local", "start", "--detach", "--dir", dir, "--base-port", &base_port], b"").await;
    let servers = started["server"].as_str().unwrap().to_owned();
    let states = async || {
        let status = json(&cli, &["local", "status", "--dir", dir], b"").await;
        let nodes = status["nodes"].as_array().unwrap().clone();
        nodes.iter().map(|node| node["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states().await, ["up", "up", "up"]);
    let at = ["--server", &servers];
    cli.ok(&[&["topic", "create", "orders"][..], &at].concat(), b"").await;
    cli.ok(&["local", "kill", "2", "--dir", dir], b"").await;
    assert_eq!(states().await, ["up", "stopped", "up"]);
    cli.ok(&[&["produce", "orders"][..], &at].concat(), b"while node 2 is dead\n").await;
    cli.ok(&["local", "restart", "2", "--dir", dir], b"").await;
    assert_eq!(states().await, ["up", "up", "up"]);
    cli.ok(&["local", "stop", "--dir", dir], b"").await;
    assert_eq!(states().await, ["stopped", "stopped", "stopped"]);
    cli.ok(&["local", "start", "--detach", "--dir", dir], b"").await;
    assert_eq!(cli.ok(&[&["consume", "orders"][..], &at].concat(), b"").await, b"while node 2 is dead\n");
    drop(local);
}

/// Stops the nodes, which are not our children, however the test ends.
struct LocalCluster {
    cli: Cli,
    dir: String,
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        let stopped =
            std::process::Command::new(self.cli.program()).args(["local", "stop", "--dir", &self.dir]).output();
        if !std::thread::panicking() {
            assert!(stopped.is_ok_and(|output| output.status.success()), "the local cluster was not stopped");
        }
    }
}
