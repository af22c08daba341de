//! Replicas whose logs are damaged in the middle: they vote and append, and others lead.

use std::{path::PathBuf, time::Duration};

use quorate_cluster_config::NodeId;
use quorate_log_engine::ScrubOptions;
use quorate_raft::{FetchError, GroupOpenError, Role};

use crate::support::cluster::{PARTITION, PATIENCE, Setup, TestCluster, eventually};

/// Scrubs all the time.
const SCRUB: ScrubOptions = ScrubOptions { bytes_per_second: 1 << 30, interval: Duration::from_millis(50) };

async fn start() -> TestCluster {
    TestCluster::start_with(Setup { segment_bytes: 1_500, scrub: Some(SCRUB), ..Setup::default() }).await
}

/// Appends batches of one record of a producer of this round.
async fn write(cluster: &TestCluster, leader: NodeId, round: i64) {
    for sequence in 0..12 {
        let appended = async { cluster.append(leader, round, sequence, 1, None).await.finish().await.unwrap() };
        let appended = tokio::time::timeout(PATIENCE, appended).await;
        assert!(appended.is_ok(), "no answer to {sequence} of {round} at {leader}:\n{}", cluster.describe());
    }
}

/// A cluster whose logs have segments that are finished and known to be committed, and one of its followers.
async fn filled() -> (TestCluster, NodeId) {
    let mut cluster = start().await;
    let leader = cluster.leader(PARTITION, &cluster.all()).await;
    write(&cluster, leader, 1).await;
    write(&cluster, leader, 2).await;
    cluster.settle().await;
    cluster.all().into_iter().for_each(|node| cluster.mark(node));
    let follower = *cluster.all().iter().find(|node| **node != leader).unwrap();
    (cluster, follower)
}

/// The oldest segment of a node's partition, which is finished.
fn oldest(cluster: &TestCluster, id: NodeId) -> PathBuf {
    let mut segments = cluster.files(PARTITION, id);
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    segments.sort();
    segments.remove(0)
}

/// Flips a bit within a record of the oldest segment.
fn damage(cluster: &TestCluster, id: NodeId) -> PathBuf {
    let oldest = oldest(cluster, id);
    let bytes = cluster.disk(id).bytes(&oldest);
    let position = bytes.windows(4).position(|window| window == b"p1-2").unwrap();
    cluster.disk(id).flip(&oldest, position as u64, 0x01);
    oldest
}

/// What Raft reads when it starts is gone: the replica cannot run, so it is not mended either, and has to be replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_cut_off_where_raft_begins_to_read_is_in_doubt() {
    let (mut cluster, cut) = filled().await;
    cluster.crash(cut);
    let file = cluster.disk(cut).vfs().open(&oldest(&cluster, cut)).unwrap();
    file.truncate(file.size().unwrap() / 10).unwrap();
    file.sync_data().unwrap();
    let refused = cluster.restart(cut).await;
    assert!(matches!(refused, Err(GroupOpenError::Inconsistent { .. })), "{refused:?}");
}

/// Waits until a node's replica says that its log is damaged.
async fn known(cluster: &TestCluster, id: NodeId, path: &std::path::Path) {
    let status = || cluster.partition(id).group().status();
    let found = eventually("damage found", async || status().damage).await;
    assert!(found.contains(path.to_str().unwrap()), "{found}");
    assert_eq!(status().failure, None, "it goes on");
    cluster.mark(id);
}

/// The running nodes but one, and these in the hands of a leader.
async fn led_by_others(cluster: &TestCluster, damaged: NodeId) -> NodeId {
    let running = cluster.running();
    let leader = cluster.leader(PARTITION, &running).await;
    assert_ne!(leader, damaged, "a damaged replica leads");
    leader
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_follower_votes_and_appends_and_is_never_elected() {
    let (mut cluster, damaged) = filled().await;
    // Its checkpoints lie behind the damage: the open does not meet it, the scrub does.
    cluster.crash(damaged);
    let path = damage(&cluster, damaged);
    cluster.setup.eager = Some(damaged);
    cluster.restart(damaged).await.unwrap();
    known(&cluster, damaged, &path).await;
    let read = async |offset| cluster.partition(damaged).read(offset, 1 << 20).await.map(|frames| frames.len());
    assert!(matches!(read(0).await, Ok(2)), "what is before the damage");
    assert!(matches!(read(2).await, Err(FetchError::Log(_))), "what is damaged");
    assert!(read(3).await.is_ok_and(|batches| batches > 0), "what is behind it");

    // It stands first whenever a leader is lost, were it not for the damage; of two nodes both must vote and append.
    let mut leader = led_by_others(&cluster, damaged).await;
    for round in 3..5 {
        cluster.crash(leader);
        let next = led_by_others(&cluster, damaged).await;
        write(&cluster, next, round).await;
        cluster.restart(leader).await.unwrap();
        leader = led_by_others(&cluster, damaged).await;
        // The damaged one may have to vote for any of the others next time: these must have all that it has.
        cluster.settle().await;
    }
    assert_eq!(cluster.partition(damaged).high_watermark(), 48);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_finds_its_log_damaged_lets_another_lead() {
    let mut cluster = start().await;
    let damaged = cluster.leader(PARTITION, &cluster.all()).await;
    write(&cluster, damaged, 1).await;
    write(&cluster, damaged, 2).await;
    let path = damage(&cluster, damaged);
    known(&cluster, damaged, &path).await;
    eventually("another leader", async || {
        let status = cluster.partition(damaged).group().status();
        (status.role == Role::Follower && status.leader_node.is_some()).then_some(())
    })
    .await;
    let leader = led_by_others(&cluster, damaged).await;
    write(&cluster, leader, 3).await;
    cluster.settle().await;
    assert_eq!(cluster.partition(damaged).high_watermark(), 36);
}

/// Mends a node's replica until nothing is left to be mended.
async fn mended(cluster: &TestCluster, id: NodeId) {
    eventually("a sound log", async || {
        cluster.mend(id).await;
        cluster.partition(id).group().status().damage.is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_follower_is_mended_by_its_peers_and_may_lead_again() {
    let mut cluster = start().await;
    let leader = cluster.leader(PARTITION, &cluster.all()).await;
    write(&cluster, leader, 1).await;
    // A batch that is rejected in the log holds no offsets.
    let lost = cluster.append(leader, 1, 40, 1, None);
    assert!(lost.await.finish().await.is_err());
    write(&cluster, leader, 2).await;
    cluster.settle().await;
    let sound = cluster.read(leader).await;
    let damaged = *cluster.all().iter().find(|node| **node != leader).unwrap();
    let path = damage(&cluster, damaged);
    known(&cluster, damaged, &path).await;
    let to = crate::support::cluster::replica_of(PARTITION, damaged);
    let taken = tokio::time::timeout(PATIENCE, cluster.partition(leader).group().hand_over_to(to)).await.unwrap();
    let now = led_by_others(&cluster, damaged).await;
    assert!(!taken || now != damaged, "a damaged replica accepts no leadership");

    mended(&cluster, damaged).await;
    assert_eq!(cluster.read(damaged).await, sound);
    // Its next tick lets it lead again.
    cluster.mark(damaged);
    let leader = led_by_others(&cluster, damaged).await;
    assert!(cluster.partition(leader).group().hand_over_to(to).await);
    assert_eq!(cluster.leader(PARTITION, &cluster.all()).await, damaged);
    write(&cluster, damaged, 3).await;
    cluster.settle().await;
    // What was mended is on stable storage, and sound to whoever reads all of it.
    let records = cluster.read(damaged).await;
    cluster.crash(damaged);
    cluster.restart(damaged).await.unwrap();
    cluster.leader(PARTITION, &cluster.all()).await;
    cluster.settle().await;
    assert_eq!(cluster.read(damaged).await, records);
    cluster.mark(damaged);
    assert_eq!(cluster.partition(damaged).group().status().damage, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_peer_has_any_more_stays_damaged() {
    let mut cluster = start().await;
    let leader = cluster.leader(PARTITION, &cluster.all()).await;
    write(&cluster, leader, 1).await;
    write(&cluster, leader, 2).await;
    cluster.settle().await;
    let damaged = *cluster.all().iter().find(|node| **node != leader).unwrap();
    let path = damage(&cluster, damaged);
    known(&cluster, damaged, &path).await;
    let others: Vec<NodeId> = cluster.all().into_iter().filter(|node| *node != damaged).collect();
    others.iter().for_each(|node| cluster.net.cut(damaged, *node));
    let mended = cluster.mend(damaged).await;
    assert_eq!((mended.segments, mended.left), (0, 1));
    assert!(cluster.partition(damaged).group().status().damage.is_some());
    // A trim takes the damage along, since nobody needs what is damaged any more.
    cluster.net.heal();
    let leader = led_by_others(&cluster, damaged).await;
    cluster.partition(leader).trim(20).await.unwrap();
    eventually("the damage trimmed away", async || {
        cluster.mark(damaged);
        cluster.partition(damaged).group().status().damage.is_none().then_some(())
    })
    .await;
}
