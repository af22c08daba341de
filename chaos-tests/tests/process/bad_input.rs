//! The command line used wrongly, and with bytes that are no text.

use std::time::Duration;

use quorate_chaos_tests::harness::{Cluster, NodeKind, alone, free_ports};

const RECORD_BYTES_MAX: usize = quorate::limits::RECORD_BYTES_MAX;

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_is_told_in_one_line() {
    let _alone = alone().await;
    let cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let cli = cluster.cli();
    cli.ok(&["topic", "create", "orders"], b"").await;

    for command in [
        &["produce", "missing"][..],
        &["consume", "missing"],
        &["topic", "describe", "missing"],
        &["topic", "delete", "missing", "--yes"],
        &["bench", "produce", "--topic", "missing", "--messages", "1"],
    ] {
        let told = cli.refused(1, command, b"a\n").await;
        assert!(told.contains("topic missing does not exist"), "{told}");
    }
    let told = cli.refused(1, &["topic", "create", "orders"], b"").await;
    assert!(told.contains("exists"), "{told}");
    let told = cli.refused(1, &["topic", "delete", "orders"], b"").await;
    assert!(told.contains("--yes"), "{told}");

    let nowhere = format!("127.0.0.1:{}", free_ports(1)[0]);
    let wrong = cli.run(&["topic", "list", "--server", &nowhere], b"").await;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.stderr.contains(&nowhere) && wrong.stderr.lines().count() == 1, "{wrong:?}");
    assert!(wrong.took < Duration::from_secs(3), "{wrong:?}");
    let peer_port = cluster.nodes[0].peer_address();
    let wrong = cli.run(&["topic", "list", "--timeout", "3s", "--server", &peer_port], b"").await;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.stderr.contains(&peer_port) && wrong.stderr.lines().count() == 1, "{wrong:?}");
    assert!(wrong.took < Duration::from_secs(5), "{wrong:?}");

    let too_long = "a".repeat(250);
    for name in ["", "a b", "a/b/c", "a/", "/a", "..", "ä", &too_long] {
        let told = cli.refused(2, &["topic", "create", name], b"").await;
        assert!(!told.contains("panicked"), "{name}: {told}");
    }
    for arguments in [&["--partitions", "0"][..], &["--partitions", "1001"], &["--replication-factor", "0"]] {
        cli.refused(2, &[&["topic", "create", "new"], arguments].concat(), b"").await;
    }
    let told = cli.refused(1, &["topic", "create", "four", "--replication-factor", "4"], b"").await;
    assert!(told.contains('4') && told.contains('3'), "{told}");
    let two = cli.run(&["topic", "create", "two", "--replication-factor", "2"], b"").await;
    assert_eq!(two.code, Some(0), "{two:?}");
    assert!(two.stderr.contains("warning") && two.stderr.lines().count() == 1, "{two:?}");
    let one = cli.run(&["topic", "create", "one", "--replication-factor", "1"], b"").await;
    assert_eq!(one.code, Some(0), "{one:?}");

    let told = cli.refused(1, &["produce", "orders", "--partition", "1"], b"a\n").await;
    assert!(told.contains("partition 1"), "{told}");
    let told = cli.refused(1, &["consume", "orders", "--from", "1"], b"").await;
    assert!(told.contains("above its end"), "{told}");
    let told = cli.refused(1, &["produce", "orders", "--file", "/nowhere/file"], b"").await;
    assert!(told.contains("/nowhere/file"), "{told}");
    assert_eq!(cli.ok(&["consume", "orders"], b"").await, b"", "nothing of it was appended");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_bytes_round_trip_and_a_record_beyond_the_limit_is_named_by_its_line() {
    let _alone = alone().await;
    let cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let cli = cluster.cli();
    cli.ok(&["topic", "create", "bytes"], b"").await;
    let odd: &[u8] = b"plain\n\n\xff\xfe\x80\0 \t\r\n\xc3\x28\n \n\nlast without newline";
    cli.ok(&["produce", "bytes"], odd).await;
    assert_eq!(cli.ok(&["consume", "bytes"], b"").await, [odd, b"\n"].concat());
    for codec in ["lz4", "zstd"] {
        cli.ok(&["topic", "create", codec], b"").await;
        cli.ok(&["produce", codec, "--compression", codec], odd).await;
        assert_eq!(cli.ok(&["consume", codec], b"").await, [odd, b"\n"].concat(), "{codec}");
    }

    cli.ok(&["topic", "create", "long"], b"").await;
    let long = vec![b'x'; RECORD_BYTES_MAX + 1];
    let input = [b"first\nsecond\n".as_slice(), &long, b"\nfourth\n"].concat();
    let told = cli.refused(1, &["produce", "long"], &input).await;
    assert!(told.contains("line 3") && told.contains("2 records were acknowledged"), "{told}");
    assert_eq!(cli.ok(&["consume", "long"], b"").await, b"first\nsecond\n");
    let fits = vec![b'y'; RECORD_BYTES_MAX - 64];
    cli.ok(&["produce", "long"], &fits).await;
    let read = cli.ok(&["consume", "long", "--from", "2"], b"").await;
    assert!(read == [&fits[..], b"\n"].concat(), "{} bytes came back", read.len());
}
