//! What a topic keeps, trims, reading by time, and replicas that catch up: the built program against the fake node.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use support::Local;

fn json(local: &Local, arguments: &[&str]) -> Value {
    serde_json::from_slice(&local.ok(&[arguments, &["--output", "json"]].concat(), b"")).unwrap()
}

fn text(local: &Local, arguments: &[&str]) -> String {
    String::from_utf8(local.ok(arguments, b"")).unwrap()
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

#[test]
fn what_a_topic_keeps_is_set_and_shown() {
    let local = Local::start();
    let created = json(&local, &["topic", "create", "default"]);
    assert_eq!(
        (&created["retention_time_ms"], &created["retention_bytes"]),
        (&json!(604_800_000), &json!(10u64 << 30))
    );
    let keep = ["--retention-time", "36h", "--retention-size", "unlimited"];
    local.ok(&[&["topic", "create", "metrics"][..], &keep].concat(), b"");
    let described = json(&local, &["topic", "describe", "metrics"]);
    assert_eq!((&described["retention_time_ms"], &described["retention_bytes"]), (&json!(129_600_000), &Value::Null));
    let shown = text(&local, &["topic", "describe", "metrics"]);
    assert!(shown.contains("Retention time      1day 12h\nRetention size      unlimited\n"), "{shown}");
    local.ok(&["topic", "create", "audit", "--retention-time", "unlimited", "--retention-size", "1GiB"], b"");
    let shown = text(&local, &["topic", "describe", "audit"]);
    assert!(shown.contains("Retention time      unlimited\nRetention size      1.0 GiB\n"), "{shown}");
}

#[test]
fn a_trim_deletes_what_is_before_an_offset_for_every_reader() {
    let local = Local::start();
    local.ok(&["topic", "create", "orders"], b"");
    local.ok(&["produce", "orders"], b"0\n1\n2\n3\n4\n");
    let trim = ["topic", "trim", "orders", "--partition", "0", "--before"];
    let unasked = local.refused(&[&trim[..], &["3"]].concat(), b"y\n");
    let expected =
        "partition 0 of topic orders was not trimmed, nobody can be asked as stdin is no terminal, use --yes";
    assert_eq!(unasked, format!("quorate: {expected}\n"));
    assert_eq!(text(&local, &["consume", "orders"]), "0\n1\n2\n3\n4\n", "nothing may be deleted unasked");

    let trimmed = text(&local, &[&trim[..], &["3", "--yes"]].concat());
    assert_eq!(trimmed, "partition 0 of topic orders now starts at offset 3\n");
    assert_eq!(text(&local, &["consume", "orders"]), "3\n4\n");
    let below = local.refused(&["consume", "orders", "--from", "2"], b"");
    assert!(below.contains("below its first retained offset, 3, use --from first"), "{below}");
    assert_eq!(json(&local, &["topic", "describe", "orders"])["partitions"][0]["replicas"][0]["log_start_offset"], 3);

    let again = json(&local, &[&trim[..], &["1", "--yes"]].concat());
    assert_eq!(again, json!({ "topic": "orders", "partition": 0, "log_start_offset": 3 }));
    let above = local.refused(&[&trim[..], &["6", "--yes"]].concat(), b"");
    assert!(above.contains("was not trimmed, 6 is above its end, 5, use an offset up to 5"), "{above}");
    let nowhere = local.refused(&["topic", "trim", "orders", "--partition", "1", "--before", "0", "--yes"], b"");
    assert!(nowhere.contains("its partitions are 0 to 0"), "{nowhere}");
}

#[test]
fn records_are_found_by_the_time_at_which_they_were_taken() {
    let local = Local::start();
    local.ok(&["topic", "create", "orders"], b"");
    local.ok(&["produce", "orders"], b"old\nolder\n");
    std::thread::sleep(Duration::from_millis(50));
    let between = format!("@{}", now_ms());
    std::thread::sleep(Duration::from_millis(50));
    local.ok(&["produce", "orders"], b"new\n");
    let from = |from: &str| text(&local, &["consume", "orders", "--from", from]);
    assert_eq!(from("@-1h"), "old\nolder\nnew\n");
    assert_eq!(from(&between), "new\n");
    assert_eq!(from("@2999-01-01T00:00:00+02:00"), "");
    let trimmed = text(&local, &["topic", "trim", "orders", "--partition", "0", "--before", &between, "--yes"]);
    assert_eq!(trimmed, "partition 0 of topic orders now starts at offset 2\n");
    assert_eq!(from("first"), "new\n");
}

#[test]
fn any_replica_is_asked_only_where_that_is_wanted() {
    let local = Local::start();
    let asked = || text(&local, &["local", "logs", "1", "--dir"]).contains("asked as any replica");
    local.ok(&["topic", "create", "orders"], b"");
    local.ok(&["produce", "orders"], b"a\nb\n");
    assert_eq!(text(&local, &["consume", "orders"]), "a\nb\n");
    assert!(!asked());
    assert_eq!(text(&local, &["consume", "orders", "--any-replica"]), "a\nb\n");
    assert!(asked());
}

#[test]
fn a_replica_that_catches_up_is_seen() {
    let local = Local::start_with(&[("FAKE_NODE_LAGGARD", "63")]);
    local.ok(&["topic", "create", "orders"], b"");
    local.ok(&["produce", "orders"], &b"x\n".repeat(100));
    let shown = text(&local, &["topic", "describe", "orders"]);
    let words =
        |line: &str| line.split("  ").map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let lines: Vec<Vec<String>> = shown.lines().rev().take(3).map(words).collect();
    let size = lines[1].last().unwrap().clone();
    assert_eq!(lines[2][6..], ["ROLE", "STATE", "LOG START", "LOG END", "LAG", "LOG SIZE", "FAILURE"], "{shown}");
    assert_eq!(lines[1][6..], ["leader", "in sync", "0", "100", "0", &size], "{shown}");
    assert_eq!(lines[0], ["2", "2", "learner", "catching up 63%", "0", "63", "37", &size], "{shown}");
    assert!(size.ends_with('B') && size != "0 B", "{shown}");

    let replicas = &json(&local, &["topic", "describe", "orders"])["partitions"][0]["replicas"];
    assert_eq!((&replicas[0]["state"], &replicas[0]["caught_up_percent"]), (&json!("in_sync"), &Value::Null));
    let behind = &replicas[1];
    assert_eq!((&behind["state"], &behind["caught_up_percent"]), (&json!("catching_up"), &json!(63)));
    assert_eq!((&behind["lag_records"], &behind["log_end_offset"]), (&json!(37), &json!(63)));
    assert!(behind["log_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{behind}");
}
