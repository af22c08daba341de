//! Groups without timers: nothing happens by itself, and a replica stands when it is told to.

use std::time::Duration;

use quorate_cluster_config::NodeId;
use quorate_raft::{AppendError, Appended, Elections, GroupOpenError, ProposeError, Role};

use crate::support::cluster::{PARTITION, Setup, TestCluster, eventually};

async fn start() -> TestCluster {
    TestCluster::start_with(Setup { elections: Elections::Node, ..Setup::default() }).await
}

/// As long as an election may take before it is tried again.
const TRY: Duration = Duration::from_millis(400);

async fn stand_once(cluster: &TestCluster, node: NodeId) {
    let group = cluster.partition(node);
    group.group().stand(&group.group().ballot()).await;
}

/// Has it stand until it leads: votes may be lost, as when the others are still being started.
async fn stand(cluster: &TestCluster, node: NodeId) {
    eventually("it leads", async || {
        if role(cluster, node) != Role::Leader {
            stand_once(cluster, node).await;
            tokio::time::sleep(TRY).await;
        }
        (role(cluster, node) == Role::Leader).then_some(())
    })
    .await;
}

async fn append(cluster: &TestCluster, node: NodeId, sequence: i32) -> Result<Appended, AppendError> {
    cluster.append(node, 1, sequence, 1, None).await.finish().await
}

fn role(cluster: &TestCluster, node: NodeId) -> Role {
    cluster.partition(node).group().ballot().role
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_stands_unasked_and_whoever_is_asked_leads_although_the_lease_has_no_end() {
    let mut cluster = start().await;
    let [a, b, c] = cluster.all()[..] else { unreachable!("three nodes") };
    stand(&cluster, a).await;
    assert_eq!(cluster.leader(PARTITION, &cluster.all()).await, a);
    append(&cluster, a, 0).await.unwrap();
    cluster.settle().await;
    let before = cluster.partition(b).group().ballot();
    assert!(before.is_elected() && before.node() == Some(a) && before.voters.len() == 3);
    cluster.crash(a);
    // Far longer than any election timeout of these tests.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((role(&cluster, b), role(&cluster, c)), (Role::Follower, Role::Follower));
    assert_eq!(cluster.partition(b).group().ballot(), before);
    stand(&cluster, b).await;
    assert_eq!(cluster.leader(PARTITION, &[b, c]).await, b);
    append(&cluster, b, 1).await.unwrap();
    // A ballot of long ago changes nothing any more.
    cluster.partition(c).group().stand(&before).await;
    append(&cluster, b, 2).await.unwrap();
    assert_eq!(role(&cluster, c), Role::Follower);
    cluster.restart(a).await.unwrap_or_else(|error: GroupOpenError| unreachable!("{error}"));
    cluster.settle().await;
    assert_eq!(cluster.read(a).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_log_is_behind_wins_nothing_and_the_longer_tail_says_so() {
    let mut cluster = start().await;
    let [a, b, c] = cluster.all()[..] else { unreachable!("three nodes") };
    stand(&cluster, a).await;
    assert_eq!(cluster.leader(PARTITION, &cluster.all()).await, a);
    cluster.settle().await;
    cluster.crash(c);
    append(&cluster, a, 0).await.unwrap();
    cluster.crash(a);
    cluster.restart(c).await.unwrap_or_else(|error: GroupOpenError| unreachable!("{error}"));
    let tail = |node| cluster.partition(node).group().log_tail();
    assert!(tail(b) > tail(c), "{:?} and {:?}", tail(b), tail(c));
    stand_once(&cluster, c).await;
    stand(&cluster, b).await;
    assert_eq!(cluster.leader(PARTITION, &[b, c]).await, b);
    append(&cluster, b, 1).await.unwrap();
    eventually("both have both", async || (cluster.read(c).await.len() == 2).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_muted_leader_takes_no_proposals_until_it_may_again() {
    let cluster = start().await;
    let a = cluster.all()[0];
    stand(&cluster, a).await;
    assert_eq!(cluster.leader(PARTITION, &cluster.all()).await, a);
    let group = cluster.partition(a);
    group.group().mute(true);
    let refused = append(&cluster, a, 0).await.unwrap_err();
    let expected = ProposeError::NotLeader { leader: None };
    assert_eq!(refused.to_string(), AppendError::from(expected).to_string());
    group.group().mute(false);
    append(&cluster, a, 0).await.unwrap();
}
