//! Restarts of logs of many segments: they begin at a checkpoint, and nobody can tell from what they answer.

use std::{ops::Range, path::PathBuf};

use quorate_cluster_config::{Address, GroupId, NodeId, ReplicaId};
use quorate_raft::{AppendError, LEVELS, MetadataCommand, NodePlace, Outcome, Role};

use crate::support::cluster::{PARTITION, Setup, TestCluster, eventually};

/// Producers that write in every round, one record each.
const WRITERS: Range<i64> = 1..4;
/// Producers that wrote one batch of two records each before the first round, and nothing since.
const EARLY: Range<i64> = 4..6;
const EARLY_RECORDS: u64 = 4;

async fn start() -> TestCluster {
    TestCluster::start_with(Setup { segment_bytes: 1_500, ..Setup::default() }).await
}

fn offset_of(round: i32, writer: i64) -> u64 {
    EARLY_RECORDS + (round as u64 * 3) + (writer - WRITERS.start) as u64
}

/// Lets all producers write these rounds, each batch for the first time.
async fn write(cluster: &TestCluster, leader: NodeId, rounds: Range<i32>) {
    for producer in EARLY.filter(|_| rounds.start == 0) {
        let appended = cluster.append(leader, producer, 0, 2, None).await.finish().await.unwrap();
        assert!(!appended.duplicate);
    }
    for round in rounds {
        for writer in WRITERS {
            let appended = cluster.append(leader, writer, round, 1, None).await.finish().await.unwrap();
            assert_eq!((appended.base_offset, appended.duplicate), (offset_of(round, writer), false));
        }
    }
}

/// Waits until every segment of a replica's log that holds something has a checkpoint, but the first.
async fn checkpoints_written(cluster: &TestCluster, group: GroupId, id: NodeId) -> Vec<PathBuf> {
    eventually("a checkpoint of each segment", async || {
        let files = cluster.files(group, id);
        let of =
            |extension: &'static str| files.iter().filter(move |path| path.extension().unwrap() == extension).cloned();
        // The file of the next segment is made ahead of its time.
        let begun = of("log").filter(|path| cluster.disk(id).bytes(path).iter().any(|byte| *byte != 0)).count();
        let mut checkpoints: Vec<_> = of("checkpoint").collect();
        checkpoints.sort();
        (checkpoints.len() + 1 == begun).then_some(checkpoints)
    })
    .await
}

/// All nodes lead and follow as if nothing had been: retries are recognised, what is new goes on where it was.
async fn goes_on(cluster: &mut TestCluster, rounds: i32) {
    let leader = cluster.leader(PARTITION, &cluster.all()).await;
    for (at, producer) in EARLY.enumerate() {
        let again = cluster.append(leader, producer, 0, 2, None).await.finish().await.unwrap();
        assert_eq!((again.base_offset, again.duplicate), (2 * at as u64, true), "producer {producer}");
    }
    for writer in WRITERS {
        for round in rounds - 5..rounds {
            let again = cluster.append(leader, writer, round, 1, None).await.finish().await.unwrap();
            assert_eq!((again.base_offset, again.duplicate), (offset_of(round, writer), true));
        }
        let gap = cluster.append(leader, writer, rounds + 1, 1, None).await.finish().await;
        let Err(AppendError::Refused(Outcome::OutOfOrderSequence { expected })) = gap else { panic!("{gap:?}") };
        assert_eq!(expected, rounds);
    }
    write(cluster, leader, rounds..rounds + 8).await;
    cluster.settle().await;
    let records = cluster.read(leader).await;
    assert_eq!(records.len() as u64, offset_of(rounds + 8, WRITERS.start));
    for node in cluster.all() {
        assert_eq!(cluster.read(node).await, records, "node {node}");
    }
}

fn scanned_from(cluster: &TestCluster, id: NodeId) -> u64 {
    cluster.partition(id).group().scanned_from()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_begins_at_a_checkpoint_and_knows_all_that_was_before() {
    let mut cluster = start().await;
    let leader = cluster.leader(PARTITION, &cluster.all()).await;
    write(&cluster, leader, 0..30).await;
    cluster.settle().await;
    for node in cluster.all() {
        assert!(checkpoints_written(&cluster, PARTITION, node).await.len() > 8);
        cluster.mark(node);
        cluster.crash(node);
    }
    for node in cluster.all() {
        cluster.restart(node).await.unwrap();
        let partition = cluster.partition(node);
        assert!(scanned_from(&cluster, node) > 60, "{}", scanned_from(&cluster, node));
        assert_eq!(partition.high_watermark(), offset_of(30, WRITERS.start));
        // The membership is an entry that was not read. The group says that it is no learner once its core has started.
        eventually("it votes", async || (partition.group().status().role != Role::Learner).then_some(())).await;
    }
    goes_on(&mut cluster, 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_checkpoint_beyond_what_is_known_to_be_committed_is_used() {
    let mut cluster = start().await;
    let leader = cluster.leader(PARTITION, &cluster.all()).await;
    write(&cluster, leader, 0..10).await;
    cluster.settle().await;
    cluster.all().into_iter().for_each(|node| cluster.mark(node));
    let (marked, marked_entries) = (offset_of(10, WRITERS.start), cluster.log(PARTITION, leader).len() as u64);
    // Several segments more, and no tick.
    write(&cluster, leader, 10..30).await;
    cluster.settle().await;
    for node in cluster.all() {
        checkpoints_written(&cluster, PARTITION, node).await;
    }
    cluster.all().into_iter().for_each(|node| cluster.crash(node));
    // Alone, a node learns nothing beyond its mark.
    cluster.restart(leader).await.unwrap();
    assert_eq!(cluster.partition(leader).high_watermark(), marked);
    assert!((1..=marked_entries).contains(&scanned_from(&cluster, leader)), "{}", scanned_from(&cluster, leader));
    for node in cluster.all().into_iter().filter(|node| *node != leader) {
        cluster.restart(node).await.unwrap();
    }
    goes_on(&mut cluster, 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_newest_checkpoint_a_log_is_read_from_an_older_one_on() {
    let mut cluster = start().await;
    let leader = cluster.leader(PARTITION, &cluster.all()).await;
    write(&cluster, leader, 0..30).await;
    cluster.settle().await;
    let nodes = cluster.all();
    let mut expected = Vec::new();
    for (way, node) in nodes.iter().copied().enumerate() {
        let checkpoints = checkpoints_written(&cluster, PARTITION, node).await;
        cluster.mark(node);
        cluster.crash(node);
        cluster.restart(node).await.unwrap();
        let sound = scanned_from(&cluster, node);
        cluster.crash(node);
        let (disk, newest) = (cluster.disk(node), checkpoints.last().unwrap());
        match way {
            0 => disk.lose(newest),
            1 => disk.flip(newest, disk.bytes(newest).len() as u64 / 2, 0x10),
            _ => checkpoints.iter().for_each(|path| disk.lose(path)),
        }
        expected.push(if way == 2 { 0..1 } else { 1..sound });
    }
    for (node, expected) in nodes.into_iter().zip(expected) {
        cluster.restart(node).await.unwrap();
        assert!(expected.contains(&scanned_from(&cluster, node)), "{} of {expected:?}", scanned_from(&cluster, node));
        assert_eq!(cluster.partition(node).high_watermark(), offset_of(30, WRITERS.start));
    }
    goes_on(&mut cluster, 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metadata_log_is_read_from_a_checkpoint_on_whatever_its_store_has_applied() {
    let mut cluster = start().await;
    let leader = cluster.leader(GroupId::Metadata, &cluster.all()).await;
    let address = |port: u64| Address::parse(&format!("localhost:{}", 7000 + port)).unwrap();
    let mut last = 0;
    for port in 0..40 {
        let place = NodePlace { client_address: address(port), peer_address: address(port + 100), rack: None };
        let command =
            MetadataCommand::RegisterNode { node: NodeId(1), metadata_replica: ReplicaId(1), place, levels: LEVELS };
        last = cluster.metadata(leader).execute(&command).await.unwrap().1;
    }
    let before = cluster.metadata(leader).state();
    for node in cluster.all() {
        assert!(cluster.metadata(node).wait_applied(last, crate::support::cluster::PATIENCE).await);
        assert!(checkpoints_written(&cluster, GroupId::Metadata, node).await.len() > 3);
    }
    for (at, node) in cluster.all().into_iter().enumerate() {
        // One store keeps all that was applied, one the mark as well, one nothing.
        match at {
            0 => cluster.store(node).flush(),
            1 => cluster.mark(node),
            _ => {}
        }
        cluster.crash(node);
    }
    for (at, node) in cluster.all().into_iter().enumerate() {
        cluster.restart(node).await.unwrap();
        let scanned_from = cluster.metadata(node).group().scanned_from();
        assert_eq!(scanned_from > 10, at < 2, "node {node}: {scanned_from}");
    }
    cluster.leader(GroupId::Metadata, &cluster.all()).await;
    for node in cluster.all() {
        assert!(cluster.metadata(node).wait_applied(last, crate::support::cluster::PATIENCE).await);
        assert_eq!(cluster.metadata(node).state(), before, "node {node}");
    }
}
