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
fn a_cluster_with_nothing_to_move_says_so() {
    let local = Local::start();
    let text = |arguments: &[&str]| String::from_utf8(local.run(arguments, b"").stdout).unwrap();
    assert_eq!(text(&["cluster", "rebalance"]), "nothing is to be moved\n");
    assert_eq!(text(&["cluster", "rebalance", "--cancel"]), "0 moves are taken back\n");
    assert_eq!(text(&["cluster", "tasks"]), "nothing is being moved\n");
    assert_eq!(json(&local, &["cluster", "rebalance"]), serde_json::json!({"begun": 0, "left": 0}));
    assert_eq!(json(&local, &["cluster", "tasks"]), serde_json::json!([]));
}
