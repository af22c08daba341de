//! Draining nodes: the built program against the fake node, which leads the metadata whatever it is told.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use serde_json::Value;
use support::Local;

fn json(local: &Local, arguments: &[&str]) -> Value {
    let output = local.run(&[arguments, &["--output", "json"]].concat(), b"");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_node_is_drained_and_undrained_and_the_list_shows_it() {
    let local = Local::start();
    let drained = json(&local, &["node", "drain", "1", "--wait", "0s"]);
    assert_eq!(drained, serde_json::json!({"node": 1, "drained": true, "leads": 1}));
    let nodes = json(&local, &["node", "list"]);
    assert_eq!((&nodes[0]["drained"], &nodes[0]["rack"]), (&Value::Bool(true), &Value::Null));
    let list = local.run(&["node", "list"], b"");
    assert!(String::from_utf8(list.stdout).unwrap().contains("up, drained"));
    let undrained = local.run(&["node", "undrain", "1"], b"");
    assert_eq!(String::from_utf8(undrained.stdout).unwrap(), "node 1 may lead again\n");
    assert_eq!(json(&local, &["node", "list"])[0]["drained"], Value::Bool(false));
}

#[test]
fn a_node_that_goes_on_leading_and_one_that_is_not_there_are_told() {
    let local = Local::start();
    let waited = local.run(&["node", "drain", "1", "--wait", "700ms"], b"");
    let said = String::from_utf8(waited.stderr).unwrap();
    assert!(waited.status.code() == Some(1) && said.contains("node 1 still leads 1 groups after 700ms"), "{said}");
    let refused = local.run(&["node", "drain", "7"], b"");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && said.contains("node 7 is not registered"), "{said}");
}

#[test]
fn tasks_are_followed_until_nothing_is_left_to_do() {
    let local = Local::start();
    let output = local.run(&["cluster", "rebalance"], b"");
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(stdout, "moved 1 replica\n");
    assert_eq!(stderr, "1 replica on the way, 0 done, 1.0 MiB of 4.0 MiB\n", "a line, as there is no terminal");
    let text = |arguments: &[&str]| String::from_utf8(local.run(arguments, b"").stdout).unwrap();
    assert_eq!(text(&["cluster", "rebalance", "--cancel"]), "0 moves are taken back\n");
    assert_eq!(text(&["cluster", "tasks"]), "nothing is being moved\n");
    let begun = json(&local, &["cluster", "rebalance", "--wait", "0s"]);
    assert_eq!(begun, serde_json::json!({"moved": 0, "left": 1, "done": false}));
    assert_eq!(text(&["cluster", "tasks", "--watch"]), "nothing is being moved\n");
    let idle = serde_json::json!({"moves": [], "leaving": [], "evening": false, "awaited": []});
    assert_eq!(json(&local, &["cluster", "tasks"]), idle);
    let output = local.run(&["cluster", "rebalance", "--output", "json"], b"");
    let progress: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((&progress["replicas_left"], &progress["bytes_total"]), (&Value::from(1), &Value::from(4 << 20)));
}

#[test]
fn a_node_is_added_and_removed() {
    let local = Local::start();
    let text = |arguments: &[&str]| String::from_utf8(local.run(arguments, b"").stdout).unwrap();
    assert_eq!(
        text(&["node", "add", "127.0.0.1:9"]),
        "node 1 at 127.0.0.1:9 is part of the cluster and has 0 replicas\n"
    );
    let unreachable = local.run(&["node", "add", "127.0.0.1:1"], b"");
    assert!(unreachable.status.code() == Some(1) && unreachable.stdout.is_empty());
    let nonsense = local.run(&["node", "add", "nowhere"], b"");
    assert_eq!(nonsense.status.code(), Some(2));
    assert_eq!(
        text(&["node", "remove", "1", "--wait", "0s"]),
        "node 1 is no part of the cluster any more, and its data can be deleted\n"
    );
    assert_eq!(text(&["node", "remove", "1", "--cancel"]), "node 1 stays\n");
    let unknown = local.run(&["node", "remove", "9"], b"");
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert!(unknown.status.code() == Some(1) && said.contains("node 9 is not registered"), "{said}");
    let both = local.run(&["node", "remove", "1", "--cancel", "--dead"], b"");
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn a_topic_is_altered_and_a_keyed_one_only_after_a_question() {
    let local = Local::start();
    let run = |arguments: &[&str], input: &[u8]| {
        let output = local.run(arguments, input);
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let created = run(&["topic", "create", "orders", "--replication-factor", "1"], b"");
    assert_eq!(created.0, Some(0), "{created:?}");
    let (code, _, said) = run(&["topic", "alter", "orders"], b"");
    assert!(code == Some(2) && said.contains("nothing is to be altered"), "{said}");
    let altered = run(&["topic", "alter", "orders", "--retention-time", "unlimited"], b"");
    assert_eq!(
        (altered.0, altered.1.as_str()),
        (Some(0), "topic orders has 1 partition of 1 replica\n"),
        "{altered:?}"
    );
    let view = json(&local, &["topic", "alter", "orders", "--retention-size", "2GiB"]);
    assert_eq!((&view["retention_time_ms"], &view["retention_bytes"]), (&Value::Null, &Value::from(2_u64 << 30)));
    run(&["produce", "orders", "--partition", "0", "--key-separator", ":"], b"key:value\n");
    let (code, _, said) = run(&["topic", "alter", "orders", "--partitions", "3"], b"");
    assert!(code == Some(1) && said.contains("was not altered") && said.contains("--yes"), "{said}");
    assert_eq!(run(&["topic", "alter", "orders", "--partitions", "3", "--yes"], b"").0, Some(0));
}

#[test]
fn what_a_recovery_would_lose_is_told_and_only_accepted_loss_is_taken() {
    let local = Local::start();
    json(&local, &["topic", "create", "orders", "--partitions", "3"]);
    let told = local.run(&["topic", "recover", "orders"], b"");
    let expected = "\
partition 0: a majority of its replicas is there
partition 1: could go on from replica 22 on node 2, which ends at offset 1204
  lost: records from offset 1204 on that only nodes 1, 3 had, acknowledged or not
  kept: offsets 1200 to 1203, which may never have been acknowledged
partition 2: no replica is there; it was on nodes 1, 3
nothing was changed; if the missing nodes are gone for good, add --accept-data-loss
";
    assert!(told.status.success());
    assert_eq!(String::from_utf8(told.stdout).unwrap(), expected);
    let one = json(&local, &["topic", "recover", "orders", "--partition", "1", "--accept-data-loss"]);
    let partition = serde_json::json!({
        "partition": 1, "state": "recoverable", "replica": 22, "node": 2, "log_end_offset": 1204, "high_watermark": 1200,
        "damaged": false, "recovered": true, "others": [], "missing_nodes": [1, 3],
    });
    assert_eq!(one, serde_json::json!({"topic": "orders", "partitions": [partition], "recovered": true}));
    let all = local.run(&["topic", "recover", "orders", "--accept-data-loss"], b"");
    let said = String::from_utf8(all.stderr).unwrap();
    assert!(
        all.status.code() == Some(1) && said.contains("1 partitions of topic orders have no replica left"),
        "{said}"
    );
    assert!(String::from_utf8(all.stdout).unwrap().contains("partition 1: goes on from replica 22"));
    let elsewhere =
        local.run(&["topic", "recover", "orders", "--partition", "1", "--from", "3", "--accept-data-loss"], b"");
    let said = String::from_utf8(elsewhere.stderr).unwrap();
    assert!(elsewhere.status.code() == Some(1) && said.contains("node 3 has no replica of partition 1"), "{said}");
    let unknown = local.run(&["topic", "recover", "orders", "--partition", "7"], b"");
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("has no partition 7"));
}
