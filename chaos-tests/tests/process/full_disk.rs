//! Nodes whose disks have less room than they keep free: records are refused with a reason, everything else goes on.

use std::time::Duration;

use quorate_chaos_tests::harness::{Cluster, NodeKind, alone, until};

/// More than any disk has.
const RESERVE: (&str, &str) = ("QUORATE_LOG__RESERVE_BYTES", "1TiB");

#[tokio::test(flavor = "multi_thread")]
async fn records_are_refused_reads_and_trims_go_on_and_all_heals_when_there_is_room() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic(&client, "orders", 1).await;
    cluster.cli().ok(&["produce", "orders"], b"one\ntwo\nthree\n").await;
    for node in &mut cluster.nodes {
        node.stop().await;
        node.settings = vec![(RESERVE.0.to_owned(), RESERVE.1.to_owned())];
        node.start();
    }
    cluster.wait_until_up().await;
    until("the disks are looked at", Duration::from_secs(20), async || {
        let ran = cluster.cli().run(&["--timeout", "2s", "produce", "orders"], b"four\n").await;
        let refused = ran.code == Some(1) && ran.stderr.contains("left on its disk and keeps");
        if refused { Ok(()) } else { Err(format!("{ran:?}")) }
    })
    .await;
    assert!(cluster.nodes.iter().any(|node| node.log().contains("the disk is nearly full")));
    let consume = ["consume", "orders", "--from", "first"];
    // A record that came before the disks were looked at is as good as any.
    let read = cluster.cli().ok(&consume, b"").await;
    assert!(read.starts_with(b"one\ntwo\nthree\n"), "{}", String::from_utf8_lossy(&read));
    assert_eq!(client.trim(&topic, 0, 2).await.unwrap(), 2);
    assert!(cluster.cli().ok(&consume, b"").await.starts_with(b"three\n"));

    for node in &mut cluster.nodes {
        node.stop().await;
        node.settings.clear();
        node.start();
    }
    cluster.wait_until_up().await;
    cluster.cli().ok(&["produce", "orders"], b"five\n").await;
    assert!(cluster.cli().ok(&consume, b"").await.ends_with(b"five\n"));
    cluster.wait_until_replicas_agree(&client, &topic).await;
}
