//! A disk that forgets what it said was on stable storage.

use quorate_faulty_vfs::Filter;

use crate::support::cluster::{PARTITION, TestCluster, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_lost_what_it_had_acknowledged_is_sent_it_again_by_the_same_leader() {
    let mut cluster = TestCluster::start().await;
    let leader = cluster.leader(PARTITION, &cluster.all()).await;
    let victim = *cluster.all().iter().find(|id| **id != leader).unwrap();
    cluster.append(leader, 1, 0, 1, None).await.finish().await.unwrap();
    cluster.settle().await;

    let lie = cluster.disk(victim).ignore_syncs(Filter::syncs());
    for sequence in 1..10 {
        cluster.append(leader, 1, sequence, 1, None).await.finish().await.unwrap();
    }
    cluster.settle().await;
    let acknowledged = cluster.log(PARTITION, victim);
    cluster.crash(victim);
    cluster.disk(victim).heal(lie);
    assert!(cluster.log(PARTITION, victim).len() < acknowledged.len(), "the disk has forgotten nothing");
    cluster.restart(victim).await.unwrap();

    eventually("what was lost", async || (cluster.log(PARTITION, victim).len() >= acknowledged.len()).then_some(()))
        .await;
    cluster.append(leader, 1, 10, 1, None).await.finish().await.unwrap();
    cluster.settle().await;
    assert_eq!(cluster.leader(PARTITION, &cluster.all()).await, leader);
}
