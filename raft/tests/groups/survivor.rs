//! Groups that go on from one replica after the others are gone for good.

use quorate_cluster_config::{GroupId, NodeId, ReplicaId};
use quorate_raft::{
    Environment, GroupOpenError, Leaving, PartitionGroup, RecoverMetadata, ReplicaPhase, ReplicaRecord, ReplicaRecords,
    Role, go_on_alone, metadata_go_on_alone, metadata_remains,
};
use quorate_record::BatchHeader;

use crate::{
    equal, register,
    support::cluster::{PARTITION, TestCluster, batch, eventually, replica_of},
};

const NEW: ReplicaId = ReplicaId(99);

fn record(environment: &Environment, replica: ReplicaId) -> ReplicaRecord {
    ReplicaRecords::new(environment.store.clone()).get(replica).unwrap().unwrap()
}

async fn alone(environment: &Environment, node: NodeId) -> Result<ReplicaRecord, GroupOpenError> {
    let environment = environment.clone();
    let known = record(&environment, replica_of(PARTITION, node));
    tokio::task::spawn_blocking(move || go_on_alone(&environment, &known, (NEW, node))).await.unwrap()
}

async fn append(group: &PartitionGroup, sequence: i32) -> u64 {
    let batch = batch(1, sequence, 1);
    let header = BatchHeader::parse(&batch).unwrap();
    group.append(batch, &header, None).await.finish().await.unwrap().base_offset
}

/// A partition of three replicas with ten records, of which all nodes have lost power.
async fn lost() -> (TestCluster, NodeId) {
    let mut cluster = TestCluster::start().await;
    let leader = cluster.leader(PARTITION, &cluster.all()).await;
    for sequence in 0..10 {
        cluster.append(leader, 1, sequence, 1, None).await.finish().await.unwrap();
    }
    cluster.settle().await;
    let survivor = *cluster.all().iter().find(|id| **id != leader).unwrap();
    for node in cluster.all() {
        cluster.mark(node);
        cluster.crash(node);
    }
    (cluster, survivor)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_goes_on_from_one_replica_under_a_new_id() {
    let (cluster, survivor) = lost().await;
    let environment = cluster.environment(survivor);
    let renamed = alone(&environment, survivor).await.unwrap();
    let old = replica_of(PARTITION, survivor);
    assert_eq!((renamed.replica, renamed.log, renamed.phase), (NEW, old, ReplicaPhase::Created));
    assert_eq!(ReplicaRecords::new(environment.store.clone()).get(old).unwrap(), None, "the old one is no more");

    let group = PartitionGroup::open(&environment, &renamed).await.unwrap();
    eventually("a leader", async || (group.group().status().role == Role::Leader).then_some(())).await;
    group.group().linearize().await.unwrap();
    assert_eq!(group.high_watermark(), 10);
    assert_eq!(group.group().members().voters.into_iter().collect::<Vec<_>>(), [(NEW, survivor)]);
    // What was retried is still recognised, and offsets go on.
    assert_eq!([append(&group, 9).await, append(&group, 10).await], [9, 10]);
    group.group().shutdown().await;

    // And it stays so.
    drop(group);
    let group = PartitionGroup::open(&environment, &renamed).await.unwrap();
    eventually("a leader", async || (group.group().status().role == Role::Leader).then_some(())).await;
    assert_eq!(append(&group, 11).await, 11);
    group.group().shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_before_the_replica_has_its_new_id_is_made_good() {
    let (mut cluster, survivor) = lost().await;
    cluster.store(survivor).refuse(true);
    let failed = alone(&cluster.environment(survivor), survivor).await;
    assert!(matches!(failed, Err(GroupOpenError::Store(_))), "{failed:?}");
    let once = cluster.log(PARTITION, survivor);
    cluster.store(survivor).refuse(false);
    // What was forced into its log did no harm by itself.
    cluster.restart(survivor).await.unwrap();
    assert_ne!(cluster.partition(survivor).group().status().role, Role::Leader);
    cluster.crash(survivor);
    let environment = cluster.environment(survivor);
    let renamed = alone(&environment, survivor).await.unwrap();
    assert_eq!(cluster.log(PARTITION, survivor), once, "nothing was appended twice");
    let group = PartitionGroup::open(&environment, &renamed).await.unwrap();
    eventually("a leader", async || (group.group().status().role == Role::Leader).then_some(())).await;
    assert_eq!(append(&group, 10).await, 10);
    group.group().shutdown().await;
}

async fn recover(cluster: &TestCluster, survivor: NodeId, lost: &[NodeId]) {
    let environment = cluster.environment(survivor);
    let known = record(&environment, replica_of(GroupId::Metadata, survivor));
    let decided = RecoverMetadata { survivor, lost: lost.to_vec(), decided_at_ms: 1 };
    let force = move || {
        let remains = metadata_remains(&environment, &known).unwrap();
        assert_eq!((remains.voters.len(), remains.learners.len()), (3, 0));
        metadata_go_on_alone(&environment, &known, &decided).unwrap();
        let remains = metadata_remains(&environment, &known).unwrap();
        assert_eq!(remains.voters.into_keys().collect::<Vec<_>>(), [known.replica]);
    };
    tokio::task::spawn_blocking(force).await.unwrap();
}

/// Three nodes that know of each other and of a topic, and have lost power.
async fn lost_metadata() -> TestCluster {
    let mut cluster = TestCluster::start().await;
    let leader = cluster.leader(GroupId::Metadata, &cluster.all()).await;
    let mut index = 0;
    for node in cluster.all() {
        index = register(&cluster, leader, node).await.1;
    }
    let state = cluster.metadata(leader).state();
    equal(&cluster, &state, index).await;
    for node in cluster.all() {
        cluster.mark(node);
        cluster.crash(node);
    }
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metadata_go_on_from_one_replica_and_the_lost_nodes_are_dead() {
    let mut cluster = lost_metadata().await;
    let [a, b, c] = cluster.all()[..] else { unreachable!("three nodes") };
    recover(&cluster, a, &[b, c]).await;
    cluster.restart(a).await.unwrap();
    cluster.leader(GroupId::Metadata, &[a]).await;
    eventually("what was decided", async || {
        let state = cluster.metadata(a).state();
        let leaving = |node| state.node(node).unwrap().leaving;
        let dead = [a, b, c].map(leaving) == [None, Some(Leaving::Dead), Some(Leaving::Dead)];
        (dead && state.metadata_recoveries().count() == 1 && state.is_shunned(b)).then_some(())
    })
    .await;
    register(&cluster, a, a).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_survived_too_takes_the_metadata_from_the_one_they_went_on_from() {
    let mut cluster = lost_metadata().await;
    let [a, b, c] = cluster.all()[..] else { unreachable!("three nodes") };
    recover(&cluster, a, &[b]).await;
    cluster.restart(a).await.unwrap();
    cluster.restart(c).await.unwrap();
    cluster.leader(GroupId::Metadata, &[a, c]).await;
    register(&cluster, a, a).await;
    let expected = cluster.metadata(a).state();
    eventually("equal metadata", async || (cluster.metadata(c).state() == expected).then_some(())).await;
    let members = cluster.metadata(c).group().members();
    assert_eq!(members.learners.into_values().collect::<Vec<_>>(), [c], "whether it votes again is decided elsewhere");
}
