//! What is applied leaves the log of the metadata group; replicas that missed it take a snapshot.

use std::sync::Arc;

use quorate_cluster_config::{GroupId, NodeId};
use quorate_raft::MetadataState;

use crate::{
    create, equal, register,
    support::cluster::{PATIENCE, Setup, TestCluster, eventually, replica_of},
};

/// A segment holds a few commands.
const SEGMENT_BYTES: u64 = 4096;

async fn cluster() -> TestCluster {
    TestCluster::start_with(Setup { segment_bytes: SEGMENT_BYTES, ..Setup::default() }).await
}

/// Executes enough commands for several segments, and has what is applied given up on all running nodes. Returns what the
/// metadata are then, and the index of the last command.
async fn write(cluster: &TestCluster, leader: NodeId) -> (Arc<MetadataState>, u64) {
    let mut last = 0;
    for _ in 0..30 {
        for node in cluster.all() {
            last = register(cluster, leader, node).await.1;
        }
    }
    for node in cluster.running() {
        assert!(cluster.metadata(node).wait_applied(last, PATIENCE).await);
        let before = cluster.metadata(node).log_start();
        eventually("a log that starts later", async || {
            cluster.mark(node);
            (cluster.metadata(node).log_start() > before).then_some(())
        })
        .await;
    }
    (cluster.metadata(leader).state(), last)
}

async fn leader(cluster: &TestCluster, among: &[NodeId]) -> NodeId {
    cluster.leader(GroupId::Metadata, among).await
}

/// Two nodes go on while the third is down, until what it lacks is in no log any more.
async fn left_behind(cluster: &mut TestCluster) -> (NodeId, Arc<MetadataState>, u64) {
    let leads = leader(cluster, &cluster.all()).await;
    for node in cluster.all() {
        register(cluster, leads, node).await;
    }
    create(cluster, leads, "orders").await;
    let slow = *cluster.all().iter().find(|id| **id != leads).unwrap();
    let applied_end = *cluster.metadata(leads).applied_end().borrow();
    assert!(cluster.metadata(slow).wait_applied(applied_end - 1, PATIENCE).await);
    cluster.mark(slow);
    cluster.crash(slow);
    create(cluster, leads, "payments").await;
    let (state, index) = write(cluster, leads).await;
    (slow, state, index)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_left_behind_takes_a_snapshot_and_all_survive_a_power_loss() {
    let mut cluster = cluster().await;
    let (slow, state, index) = left_behind(&mut cluster).await;
    cluster.restart(slow).await.unwrap();
    equal(&cluster, &state, index).await;
    assert!(cluster.metadata(slow).log_start() > 0, "it took a snapshot");
    for node in cluster.all() {
        cluster.crash(node);
    }
    for node in cluster.all() {
        cluster.restart(node).await.unwrap();
    }
    leader(&cluster, &cluster.all()).await;
    equal(&cluster, &state, index).await;
    let leads = leader(&cluster, &cluster.all()).await;
    let (state, index) = write(&cluster, leads).await;
    equal(&cluster, &state, index).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_the_log_and_the_store_of_a_snapshot_is_completed() {
    let mut cluster = cluster().await;
    let (slow, state, index) = left_behind(&mut cluster).await;
    // Its log goes on behind the snapshot, and its store does not take what the snapshot holds.
    cluster.store(slow).refuse(true);
    cluster.restart(slow).await.unwrap();
    eventually("a failure", async || cluster.metadata(slow).group().status().failure).await;
    let mine = cluster.metadata(slow);
    assert!(*mine.applied_end().borrow() < mine.log_start(), "the store lacks what the log has given up");
    drop(mine);
    cluster.crash(slow);
    cluster.store(slow).refuse(false);
    cluster.restart(slow).await.unwrap();
    equal(&cluster, &state, index).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_begins_with_a_snapshot() {
    let mut cluster = cluster().await;
    let leads = leader(&cluster, &cluster.all()).await;
    create_after_registering(&cluster, leads).await;
    let (state, index) = write(&cluster, leads).await;
    let joined = cluster.join().await;
    let replica = replica_of(GroupId::Metadata, joined);
    cluster.metadata(leads).group().add_learner(replica, joined).await.unwrap();
    assert!(cluster.metadata(joined).wait_applied(index, PATIENCE).await);
    // Being a member reserves its ids, and is applied at its place in the log.
    eventually("equal metadata", async || {
        let (theirs, ours) = (cluster.metadata(leads).state(), cluster.metadata(joined).state());
        (theirs == ours && theirs.topics().eq(state.topics())).then_some(())
    })
    .await;
    assert!(cluster.metadata(joined).log_start() > 0);
}

async fn create_after_registering(cluster: &TestCluster, leads: NodeId) {
    for node in cluster.all() {
        register(cluster, leads, node).await;
    }
    create(cluster, leads, "orders").await;
}
