//! The built program against real processes: the fake node of `examples/` stands in for `quorate-node`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::process::{Command, Stdio};

use support::{Local, fake_node, free_port, program};

#[test]
fn lines_come_back_byte_for_byte() {
    let local = Local::start();
    local.ok(&["topic", "create", "orders"], b"");
    let input = b"plain\n\n\xff\xfe\0\r\nlast without newline";
    assert!(local.ok(&["produce", "orders"], input).is_empty(), "stdout stays empty");
    assert_eq!(local.ok(&["consume", "orders"], b""), [&input[..], b"\n"].concat());
    assert_eq!(local.ok(&["consume", "orders", "--from", "1", "--count", "1", "--format", "%o[%v]"], b""), b"1[]");
    let above = local.refused(&["consume", "orders", "--from", "5"], b"");
    assert!(above.contains("above its end, 4"), "{above}");
}

#[test]
fn what_stands_before_a_line_that_is_too_long_is_delivered_and_counted() {
    let local = Local::start();
    local.ok(&["topic", "create", "orders"], b"");
    let input = [b"one\ntwo\n".to_vec(), vec![b'x'; (1 << 20) + 1], b"\nfour\n".to_vec()].concat();
    let line = local.refused(&["produce", "orders"], &input);
    assert!(line.starts_with("quorate: line 3 of stdin is longer"), "{line}");
    assert!(line.contains("2 records were acknowledged"), "{line}");
    assert_eq!(local.ok(&["consume", "orders"], b""), b"one\ntwo\n");
}

#[test]
fn a_reader_that_has_enough_ends_consume_quietly() {
    let local = Local::start();
    local.ok(&["topic", "create", "orders"], b"");
    local.ok(&["produce", "orders"], &b"0123456789\n".repeat(200_000));
    let mut child = Command::new(program())
        .args(["consume", "orders", "--server", &format!("127.0.0.1:{}", local.port)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn bench_measures_and_leaves_no_topic_behind() {
    let local = Local::start();
    for workload in ["produce", "consume"] {
        let json = local.ok(&["bench", workload, "--messages", "1000", "--output", "json"], b"");
        let report: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!((&report["workload"], &report["messages"]), (&workload.into(), &1000.into()));
        assert_eq!(report["size_bytes"], 1024);
        let acked = report["ack_ms"]["p50"].as_f64().is_some_and(|p50| p50 > 0.0);
        assert_eq!(acked, workload == "produce", "{report}");
    }
    assert_eq!(local.ok(&["topic", "list", "--output", "json"], b""), b"[]\n");
}

#[test]
fn bench_latency_keeps_a_rate_or_one_record_on_its_way() {
    let local = Local::start();
    let measure = |workload: &str, arguments: &[&str]| {
        let common = ["bench", workload, "--seconds", "1", "--size", "100", "--output", "json"];
        let json = local.ok(&[&common, arguments].concat(), b"");
        serde_json::from_slice::<serde_json::Value>(&json).unwrap()
    };
    let report = measure("latency", &["--rate", "1000", "--warm-up", "200ms", "--producers", "3"]);
    assert_eq!(
        (&report["workload"], &report["messages"], &report["size_bytes"]),
        (&"latency".into(), &1000.into(), &100.into())
    );
    let report = measure("latency", &["--one-at-a-time", "--warm-up", "0s"]);
    assert_eq!(report["workload"], "one-at-a-time");
    let (messages, seconds) = (report["messages"].as_u64().unwrap(), report["seconds"].as_f64().unwrap());
    assert!(messages > 0 && (0.5..5.0).contains(&seconds), "{report}");
    let busy_ms = report["ack_ms"]["p50"].as_f64().unwrap() * messages as f64;
    assert!(busy_ms <= 2.5 * seconds * 1000.0, "one record at a time: {report}");
    let report = measure("produce", &[]);
    assert!((1.0..10.0).contains(&report["seconds"].as_f64().unwrap()), "{report}");
    assert_eq!(local.ok(&["topic", "list", "--output", "json"], b""), b"[]\n");
}

#[test]
fn a_rate_that_is_out_of_reach_is_told() {
    let local = Local::start();
    let line = local
        .refused(&["bench", "latency", "--rate", "100000000", "--seconds", "1", "--warm-up", "0s", "--size", "1"], b"");
    assert!(line.contains("does not take 100000000 records/s") && line.contains("lower --rate"), "{line}");
}

#[test]
fn a_local_node_is_killed_restarted_and_stopped() {
    let local = Local::start();
    let state = || {
        let status = local.ok(&["local", "status", "--output", "json", "--dir"], b"");
        serde_json::from_slice::<serde_json::Value>(&status).unwrap()["nodes"][0]["state"].clone()
    };
    assert_eq!(state(), "up");
    assert!(local.refused(&["local", "start", "--detach", "--dir"], b"").contains("runs already"));
    local.ok(&["local", "kill", "1", "--dir"], b"");
    assert_eq!(state(), "stopped");
    local.ok(&["local", "restart", "1", "--dir"], b"");
    assert_eq!(state(), "up");
    local.ok(&["local", "stop", "--dir"], b"");
    assert_eq!(state(), "stopped");
}

#[test]
fn a_node_that_cannot_start_tells_why() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(program())
        .args(["local", "start", "--nodes", "1", "--base-port", &free_port().to_string(), "--dir"])
        .arg(directory.path())
        .env("QUORATE_NODE_BIN", fake_node())
        .env("FAKE_NODE_FAILS", "1")
        .output()
        .unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), line.as_str()),
        (Some(1), "quorate: node 1 exited: Error: \"the disk is on fire\"\n")
    );
}
