//! Groups of three replicas under faults. The scenarios of partitions are scripts, where they can be: see `scripts`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod checkpoints;
mod elections;
mod lying_disk;
mod metadata_log;
mod quarantine;
mod support;
mod survivor;

use std::sync::Arc;

use quorate_cluster_config::{Address, GroupId, NodeId, ProducerId, ReplicaId, TopicConfig, TopicName};
use quorate_faulty_vfs::PowerCut;
use quorate_raft::{
    GroupOpenError, LEVELS, MetadataCommand, MetadataReply, MetadataState, NodePlace, PartitionGroup, ReplicaPhase,
    ReplicaRecord, ReplicaRecords,
};
use quorate_record::BatchHeader;
use support::{
    cluster::{PARTITION, TestCluster, eventually, replica_of},
    script,
};

macro_rules! scripts {
    ($($name:ident: $file:literal,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                script::run($file).await;
            }
        )*
    };
}

scripts! {
    appends_are_ordered_and_retries_are_recognised: "happy-path",
    a_leader_killed_before_its_own_sync_loses_and_repeats_nothing: "leader-killed-before-its-own-sync",
    entries_of_a_deposed_leader_give_way_and_their_outcomes_are_undone: "conflicting-suffix",
    a_retry_after_a_failover_finds_the_first_try: "duplicate-after-failover",
    late_answers_of_an_earlier_session_prove_nothing: "stale-session",
    acknowledged_records_survive_a_power_loss_of_all_nodes: "all-restarted",
    a_follower_that_missed_a_trim_takes_a_snapshot_and_knows_its_producers: "trim-with-a-lagging-follower",
    a_learner_begins_with_a_snapshot_and_the_whole_retained_log: "learner-from-empty",
    idle_producers_are_forgotten_by_an_entry: "producer-expiry",
    a_full_disk_refuses_batches_and_nothing_else: "full-disk",
    leadership_is_handed_over: "transfer",
    a_leader_that_hears_nobody_is_replaced: "deaf-leader",
    a_leader_that_nobody_hears_is_replaced: "mute-leader",
    late_answers_do_not_prove_that_a_deposed_leader_still_leads: "late-answers",
    a_node_that_was_cut_off_disturbs_nobody_when_it_returns: "returning-follower",
    a_replica_is_replaced_step_by_step: "replacement",
    a_leader_that_is_replaced_hands_over_first: "replaced-leader",
    a_change_that_a_dead_leader_left_behind_is_completed: "joint-left-behind",
    a_replacement_is_taken_back: "replacement-taken-back",
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lost_its_log_is_refused() {
    let mut cluster = TestCluster::start().await;
    let leader = cluster.leader(PARTITION, &cluster.all()).await;
    cluster.append(leader, 1, 0, 1, None).await.finish().await.unwrap();
    let victim = *cluster.all().iter().find(|id| **id != leader).unwrap();
    cluster.crash(victim);
    for path in cluster.files(PARTITION, victim) {
        cluster.disk(victim).lose(&path);
    }
    let refused = cluster.restart(victim).await;
    assert!(matches!(refused, Err(GroupOpenError::Log(_))), "{refused:?}");

    // Even if the caller comes with the record of before the log was created.
    let environment = cluster.environment(victim);
    let records = ReplicaRecords::new(environment.store.clone());
    let known = records.get(replica_of(PARTITION, victim)).unwrap().unwrap();
    assert_eq!(known.phase, ReplicaPhase::Created);
    let stale = ReplicaRecord { phase: ReplicaPhase::Creating, ..known };
    let refused = PartitionGroup::open(&environment, &stale).await;
    assert!(matches!(refused, Err(GroupOpenError::Log(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_is_equal_everywhere_and_survives_restarts() {
    let mut cluster = TestCluster::start().await;
    let leader = cluster.leader(GroupId::Metadata, &cluster.all()).await;
    for node in cluster.all() {
        register(&cluster, leader, node).await;
    }
    create(&cluster, leader, "orders").await;
    create(&cluster, leader, "payments").await;
    let name = TopicName::parse("orders").unwrap();
    let topic = cluster.metadata(leader).state().topic_named(&name).unwrap().id;
    let delete = MetadataCommand::DeleteTopic { topic, name };
    let (reply, index) = cluster.metadata(leader).execute(&delete).await.unwrap();
    assert!(matches!(reply, MetadataReply::TopicDeleted { .. }), "{reply:?}");
    let before = cluster.metadata(leader).state();
    assert_eq!(before.topics().count(), 1);
    equal(&cluster, &before, index).await;

    for node in cluster.all() {
        // One node's store kept all, one nothing, one what it had flushed.
        if node.0 == 1 {
            cluster.store(node).flush();
        }
        cluster.crash(node);
    }
    for node in cluster.all() {
        cluster.restart(node).await.unwrap();
    }
    cluster.leader(GroupId::Metadata, &cluster.all()).await;
    equal(&cluster, &before, index).await;
    let leader = cluster.leader(GroupId::Metadata, &cluster.all()).await;
    let reserve = MetadataCommand::ReserveProducerIds { count: 10 };
    let (reply, _) = cluster.metadata(leader).execute(&reserve).await.unwrap();
    assert_eq!(reply, MetadataReply::ProducerIds { first: ProducerId(1) });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metadata_store_is_never_ahead_of_the_log() {
    let mut cluster = TestCluster::start().await;
    let leader = cluster.leader(GroupId::Metadata, &cluster.all()).await;
    let (_, first) = register(&cluster, leader, NodeId(1)).await;
    eventually("an entry applied everywhere", async || {
        let applied = |id: &NodeId| *cluster.metadata(*id).applied_end().borrow() > first;
        cluster.all().iter().all(applied).then_some(())
    })
    .await;
    let slow = *cluster.all().iter().find(|id| **id != leader).unwrap();
    cluster.disk(slow).close_syncs();
    let (_, second) = register(&cluster, leader, NodeId(2)).await;
    // The follower has the entry in its log and knows that it is committed, but must not apply it yet.
    eventually("the entry written", async || {
        cluster.log(GroupId::Metadata, slow).keys().any(|(index, _)| *index == second).then_some(())
    })
    .await;
    assert!(!cluster.metadata(slow).wait_applied(second, std::time::Duration::from_millis(300)).await);
    // At worst the store keeps all that was written to it, and the log nothing that was not synced.
    cluster.store(slow).flush();
    cluster.crash(slow);
    cluster.restart(slow).await.unwrap();
    assert_eq!(cluster.metadata(slow).state().nodes().count(), 1);
    let state = cluster.metadata(leader).state();
    equal(&cluster, &state, second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_log_failed_stops_and_says_why() {
    let cluster = TestCluster::start().await;
    let leader = cluster.leader(GroupId::Metadata, &cluster.all()).await;
    let victim = *cluster.all().iter().find(|id| **id != leader).unwrap();
    // All writes of the victim fail from here on.
    cluster.disk(victim).power_cut(PowerCut::LoseAll);
    register(&cluster, leader, NodeId(1)).await;
    let status = || cluster.metadata(victim).group().status();
    let failure = eventually("a failure", async || status().failure).await;
    assert!(failure.contains("crashed"), "{failure}");
    let stopped = tokio::time::timeout(std::time::Duration::from_secs(5), async {
        cluster.metadata(victim).group().shutdown().await;
    });
    stopped.await.expect("a failed group can be stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_is_held_until_the_leaders_own_disk_has_the_batch() {
    let cluster = TestCluster::start().await;
    let leader = cluster.leader(PARTITION, &cluster.all()).await;
    let budget = Arc::new(tokio::sync::Semaphore::new(10));
    let append = async |sequence| {
        let batch = support::cluster::batch(1, sequence, 1);
        let header = BatchHeader::parse(&batch).unwrap();
        let claim = budget.clone().acquire_many_owned(3).await.unwrap();
        cluster.partition(leader).append_claiming(batch, &header, None, claim).await.finish().await.unwrap();
    };
    append(0).await;
    let free = async |permits| {
        eventually("budget", async || (budget.available_permits() == permits).then_some(())).await;
    };
    free(10).await;
    // The others have it, and it is acknowledged, while the leader's disk hangs: what piles up there stays counted.
    cluster.disk(leader).close_syncs();
    append(1).await;
    append(2).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(budget.available_permits(), 4);
    cluster.disk(leader).open_gates();
    free(10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_found_no_room_says_so_and_goes_on_when_there_is_some() {
    let mut cluster = TestCluster::start().await;
    let leader = cluster.leader(PARTITION, &cluster.all()).await;
    let victim = *cluster.all().iter().find(|id| **id != leader).unwrap();
    cluster.append(leader, 1, 0, 1, None).await.finish().await.unwrap();
    // Another program has taken all the room.
    let used = cluster.disk(victim).bytes_used();
    cluster.disk(victim).set_capacity(Some(used));
    let stopped = async || {
        let next = cluster.partition(leader).high_watermark() as i32;
        cluster.append(leader, 1, next, 5_000, None).await.finish().await.unwrap();
        let status = cluster.partition(victim).group().status();
        status.failure.map(|failure| (failure, status.storage_full))
    };
    let (failure, storage_full) = eventually("a failure", stopped).await;
    assert!(storage_full, "{failure}");
    cluster.disk(victim).set_capacity(None);
    cluster.revive(victim).await;
    cluster.settle().await;
    let status = cluster.partition(victim).group().status();
    assert_eq!((status.failure, status.storage_full), (None, false));
    assert_eq!(cluster.read(victim).await, cluster.read(leader).await);
}

async fn register(cluster: &TestCluster, leader: NodeId, node: NodeId) -> (MetadataReply, u64) {
    let address = Address::parse(&format!("localhost:{}", 7100 + node.0)).unwrap();
    let place = NodePlace { client_address: address.clone(), peer_address: address, rack: None };
    let command = MetadataCommand::RegisterNode { node, metadata_replica: ReplicaId(node.0), place, levels: LEVELS };
    cluster.metadata(leader).execute(&command).await.unwrap()
}

async fn create(cluster: &TestCluster, leader: NodeId, name: &str) {
    let name = TopicName::parse(name).unwrap();
    let config = TopicConfig { partitions: 2, ..TopicConfig::default() };
    let command = MetadataCommand::CreateTopic { name, config, live: cluster.all() };
    let (reply, _) = cluster.metadata(leader).execute(&command).await.unwrap();
    assert!(matches!(reply, MetadataReply::TopicCreated { .. }), "{reply:?}");
}

async fn equal(cluster: &TestCluster, expected: &Arc<MetadataState>, index: u64) {
    for node in cluster.all() {
        assert!(cluster.metadata(node).wait_applied(index, support::cluster::PATIENCE).await);
        assert_eq!(cluster.metadata(node).state(), *expected, "node {node}");
    }
}
