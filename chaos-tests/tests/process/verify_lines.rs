//! The checker of the demonstration, on a stream that a cluster gives.

use std::fs;

use quorate_chaos_tests::harness::{Cli, Cluster, NodeKind, alone, binary};

#[tokio::test(flavor = "multi_thread")]
async fn a_produced_file_is_verified_and_an_altered_stream_is_not() {
    let _alone = alone().await;
    let cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let cli = cluster.cli();
    let mut content = Vec::new();
    for number in 1..=20_000_u32 {
        content.extend_from_slice(format!("{number}\t").as_bytes());
        content
            .extend((0..number % 50).map(|byte| (number.wrapping_mul(byte) % 256) as u8).filter(|byte| *byte != b'\n'));
        content.push(b'\n');
    }
    let file = cluster.directory().join("lines");
    fs::write(&file, &content).unwrap();
    let file = file.to_str().unwrap();
    cli.ok(&["topic", "create", "lines", "--partitions", "3"], b"").await;
    cli.ok(&["produce", "lines", "--file", file, "--compression", "lz4"], b"").await;
    let stream = cli.ok(&["consume", "lines", "--from", "first", "--format", "%p %o %v\\n"], b"").await;

    let checker = Cli::of(&binary("quorate-chaos"));
    let verify = ["verify-lines", "--input", file];
    let verified = checker.ok(&verify, &stream).await;
    let expected = "verified: 20000 lines, each exactly once, in order in each of 3 partitions\n";
    assert_eq!(String::from_utf8_lossy(&verified), expected);
    let as_json = checker.ok(&["verify-lines", "--input", file, "--output", "json"], &stream).await;
    let as_json: serde_json::Value = serde_json::from_slice(&as_json).unwrap();
    assert_eq!((&as_json["verified"], &as_json["lines"]), (&true.into(), &20_000.into()));

    let cut = stream.iter().rposition(|byte| *byte == b'\n').unwrap();
    let cut = stream[..cut].iter().rposition(|byte| *byte == b'\n').unwrap();
    let lost = checker.run(&verify, &stream[..=cut]).await;
    assert_eq!(lost.code, Some(1), "{lost:?}");
    let told = String::from_utf8_lossy(&lost.stdout).into_owned();
    assert!(told.starts_with("violated: 1 of 20000 lines never arrived") && told.lines().count() == 1, "{told}");
    let repeated = [&stream[..], &stream[cut + 1..]].concat();
    assert_eq!(checker.run(&verify, &repeated).await.code, Some(1));
    assert_eq!(checker.run(&["verify-lines", "--input", "/nowhere"], b"").await.code, Some(1));
}
