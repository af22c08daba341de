//! Consumer groups from the command line: the built program against the fake node.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::Local;

fn json(local: &Local, arguments: &[&str]) -> Value {
    serde_json::from_slice(&local.ok(&[arguments, &["--output", "json"]].concat(), b"")).unwrap()
}

fn text(local: &Local, arguments: &[&str]) -> String {
    String::from_utf8(local.ok(arguments, b"")).unwrap()
}

#[test]
fn a_group_goes_on_where_it_was_and_what_was_printed_is_committed() {
    let local = Local::start();
    local.ok(&["topic", "create", "orders"], b"");
    local.ok(&["produce", "orders"], b"0\n1\n2\n3\n4\n");
    let consume = ["consume", "orders", "--group", "billing"];
    assert_eq!(text(&local, &[&consume[..], &["--count", "2"]].concat()), "0\n1\n");
    let described = json(&local, &["group", "describe", "billing"]);
    let partition = &described["partitions"][0];
    assert_eq!(
        (&described["state"], &partition["committed"], &partition["lag"], &partition["topic"]),
        (&json!("empty"), &json!(2), &json!(3), &json!("orders"))
    );
    assert!(partition["lag_ms"].as_u64().is_some());
    assert_eq!(text(&local, &consume), "2\n3\n4\n");
    assert_eq!(text(&local, &consume), "", "all is read");
    local.ok(&["produce", "orders"], b"5\n");
    assert_eq!(text(&local, &consume), "5\n");
    assert_eq!(json(&local, &["group", "describe", "billing"])["partitions"][0]["lag"], 0);
}

#[test]
fn a_group_is_listed_reset_and_deleted() {
    let local = Local::start();
    local.ok(&["topic", "create", "orders", "--partitions", "2"], b"");
    local.ok(&["produce", "orders", "--partition", "0"], b"0\n1\n2\n");
    assert_eq!(text(&local, &["group", "list"]), "GROUP  STATE  MEMBERS  COMMITTED PARTITIONS\n");
    local.ok(&["consume", "orders", "--group", "billing"], b"");
    let listed = json!([{ "name": "billing", "state": "empty", "members": 0, "committed_partitions": 1 }]);
    assert_eq!(json(&local, &["group", "list"]), listed);

    let reset = ["group", "reset", "billing", "--topic", "orders", "--to"];
    let unasked = local.refused(&[&reset[..], &["first"]].concat(), b"y\n");
    assert!(unasked.starts_with("quorate: group billing was not reset, nobody can be asked"), "{unasked}");
    let outside = local.refused(&[&reset[..], &["7", "--yes"]].concat(), b"");
    assert!(outside.contains("partition 0 holds offsets from 0 to before 3"), "{outside}");
    let one = json(&local, &[&reset[..], &["1", "--partition", "0", "--yes"]].concat());
    assert_eq!(one["partitions"], json!([{ "partition": 0, "before": 3, "now": 1 }]));
    assert_eq!(text(&local, &["consume", "orders", "--group", "billing"]), "1\n2\n");
    local.ok(&[&reset[..], &["first", "--yes"]].concat(), b"");
    assert_eq!(text(&local, &["consume", "orders", "--group", "billing"]), "0\n1\n2\n");

    // The records stay, and what another group has committed.
    let deleted = text(&local, &["group", "delete", "billing", "--yes"]);
    assert_eq!(deleted, "group billing is deleted\n");
    let gone = local.refused(&["group", "describe", "billing"], b"");
    assert!(gone.contains("there is no group billing"), "{gone}");
    assert_eq!(text(&local, &["consume", "orders", "--group", "billing"]), "0\n1\n2\n");
}

#[test]
fn what_belongs_to_the_cluster_itself_is_shown_only_on_request() {
    let local = Local::start();
    local.ok(&["topic", "create", "orders"], b"");
    local.ok(&["consume", "orders", "--group", "billing"], b"");
    let names = |arguments: &[&str]| -> Vec<String> {
        let topics = json(&local, arguments);
        topics.as_array().unwrap().iter().map(|topic| topic["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["topic", "list"]), ["orders"]);
    assert_eq!(names(&["topic", "list", "--all"]), ["_quorate/consumer-groups", "orders"]);
}
