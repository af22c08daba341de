//! Consumer groups while their members and their coordinator's leaders are killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use quorate::{Client, CommitMode, GroupInfo, GroupState, MemberId, Name, NodeId, PartitionId, TopicName};
use quorate_chaos_tests::harness::{Cluster, NodeKind, Writers, alone, binary, until};
use tokio::{
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
};

use crate::show;

const WITHIN: Duration = Duration::from_secs(30);
const POLL_WAIT: Duration = Duration::from_millis(200);

fn billing() -> Name {
    Name::parse("billing").unwrap()
}

/// The group once all its partitions are with so many members.
async fn settled(client: &Client, members: usize, partitions: usize) -> Result<GroupInfo, String> {
    let group = client.group(&billing()).await.map_err(|error| error.to_string())?;
    let assigned: usize = group.members.iter().map(|member| member.assigned.len()).sum();
    match group.state == GroupState::Stable && group.members.len() == members && assigned == partitions {
        true => Ok(group),
        false => Err(format!("{} members have {assigned} partitions, {}", group.members.len(), group.state)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_members_share_thirty_partitions_and_go_on_after_one_is_killed() {
    let _alone = alone().await;
    let cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic(&client, "orders", 30).await;
    let member = || -> Child {
        let mut command = Command::new(binary("quorate"));
        command.args(["consume", topic.topic.as_str(), "--group", "billing", "--follow"]);
        command.env("QUORATE_SERVER", cluster.servers()).stdin(Stdio::null()).stdout(Stdio::null());
        command.kill_on_drop(true).spawn().unwrap()
    };
    let mut members: Vec<Child> = (0..10).map(|_| member()).collect();
    let (before, joined) = until("all have joined", WITHIN, async || settled(&client, 10, 30).await).await;
    show("ten processes have joined, and the group is stable", joined);
    assert!(before.members.iter().all(|member| member.assigned.len() == 3), "{before:#?}");

    members[0].start_kill().unwrap();
    let (after, rebalanced) = until("the others have all", WITHIN, async || settled(&client, 9, 30).await).await;
    show("nine have all partitions after one was killed with -9", rebalanced);
    // Cooperative and sticky: nobody else gave anything up.
    for member in &after.members {
        let had = before.members.iter().find(|other| other.id == member.id).unwrap();
        assert!(had.assigned.iter().all(|partition| member.assigned.contains(partition)), "{had:?} {member:?}");
    }
    let moved = members[1].id().unwrap();
    rustix_stop(moved);
    let (_, left) = until("one has left", WITHIN, async || settled(&client, 8, 30).await).await;
    show("eight have all partitions after one was stopped", left);
}

/// Ctrl-C.
fn rustix_stop(process: u32) {
    let process = rustix::process::Pid::from_raw(process.cast_signed()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
}

/// What members have seen.
#[derive(Debug, Default)]
struct Seen {
    /// Values by partition and offset.
    records: BTreeMap<(u32, u64), Vec<u8>>,
    deliveries: usize,
    /// Who was assigned a partition at an epoch.
    assigned: BTreeMap<(PartitionId, u64), MemberId>,
}

/// A member that polls until it is told to stop.
fn member(client: Client, topic: TopicName, seen: Arc<Mutex<Seen>>, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let builder = client.group_consumer(&billing(), [topic]).commit_mode(CommitMode::Interval(POLL_WAIT));
        let mut consumer = builder.max_wait(POLL_WAIT).build().await.unwrap();
        while !*stopped.borrow() {
            // An error is one of a leader that is gone: the next poll tries again.
            let Ok(records) = consumer.poll(POLL_WAIT).await else { continue };
            let mut seen = seen.lock().unwrap();
            seen.deliveries += records.len();
            for record in records {
                let value = record.record.value.unwrap_or_default().to_vec();
                let before = seen.records.insert((record.partition, record.offset), value.clone());
                assert!(before.is_none_or(|before| before == value), "an offset has two values");
            }
            if let Some((member, epoch)) = consumer.member().zip(consumer.epoch()) {
                for partition in consumer.assignment() {
                    let owner = *seen.assigned.entry((partition, epoch)).or_insert(member);
                    assert_eq!(owner, member, "{partition} was read by two members of epoch {epoch}");
                }
            }
        }
        drop(consumer.commit().await);
        drop(consumer.close().await);
    })
}

/// Watches what is committed until it is told to stop: it never goes back.
fn watch_commits(client: Client, stopped: watch::Receiver<bool>) -> JoinHandle<usize> {
    tokio::spawn(async move {
        let mut committed: BTreeMap<PartitionId, u64> = BTreeMap::new();
        let mut looks = 0;
        while !*stopped.borrow() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let Ok(group) = client.group(&billing()).await else { continue };
            looks += 1;
            let mut owned = BTreeSet::new();
            let held = group.members.iter().flat_map(|member| member.assigned.iter().chain(&member.revoking));
            held.for_each(|partition| assert!(owned.insert(*partition), "{partition} has two members"));
            for (partition, now) in group.committed {
                let before = committed.insert(partition, now.offset).unwrap_or_default();
                assert!(before <= now.offset, "{partition} went back from {before} to {}", now.offset);
            }
        }
        looks
    })
}

/// The node that leads the group's coordinator, as an index of the cluster's nodes.
async fn coordinator(client: &Client) -> usize {
    let partition = quorate::coordinator_of(&billing());
    let look = async || {
        let topic = client.topic(&TopicName::consumer_groups()).await.map_err(|error| error.to_string())?;
        topic.partitions[partition as usize].leader.ok_or_else(|| "it has no leader".to_owned())
    };
    let NodeId(node) = until("the coordinator is known", WITHIN, look).await.0;
    node as usize - 1
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_taken_back_while_coordinators_die_and_members_come_and_go() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::PowerLoss, 3).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic(&client, "orders", 6).await;
    let writers = Writers::start(&cluster, &topic, 0, 2, 6).await;
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let (stop_all, stopped) = watch::channel(false);
    let commits = watch_commits(cluster.client().await, stopped.clone());
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(member(cluster.client().await, topic.clone(), seen.clone(), stopped.clone()));
    }
    until("three have joined", WITHIN, async || settled(&client, 3, 6).await).await;
    for round in 0..3 {
        let victim = coordinator(&client).await;
        cluster.nodes[victim].kill_9();
        // One comes and goes while there may be no coordinator.
        let (stop_one, one_stopped) = watch::channel(false);
        let passing = member(cluster.client().await, topic.clone(), seen.clone(), one_stopped);
        let (_, went_on) = until("there are four", WITHIN, async || settled(&client, 4, 6).await).await;
        show(&format!("round {round}: a fourth member has its share after the coordinator was killed"), went_on);
        let since = Instant::now();
        writers.wait_for_acknowledged(since, 6, 20).await;
        stop_one.send_replace(true);
        passing.await.unwrap();
        cluster.nodes[victim].start();
        cluster.wait_until_up().await;
        until("there are three", WITHIN, async || settled(&client, 3, 6).await).await;
    }
    let journal = writers.stop().await;
    assert!(journal.failure().is_none(), "{:?}", journal.failure());
    let acknowledged = journal.acknowledged();
    let all_seen = async || {
        let seen = seen.lock().unwrap();
        let missing =
            acknowledged.iter().filter(|record| !seen.records.contains_key(&(record.partition, record.offset)));
        match missing.count() {
            0 => Ok(seen.deliveries),
            missing => Err(format!("{missing} of {} are missing", acknowledged.len())),
        }
    };
    let (deliveries, _) = until("every acknowledged record is delivered", WITHIN, all_seen).await;
    stop_all.send_replace(true);
    for member in members {
        member.await.unwrap();
    }
    let looks = commits.await.unwrap();
    println!(
        "{} records acknowledged, {deliveries} deliveries; {looks} looks at what is committed",
        acknowledged.len()
    );
    assert!(looks > 50, "{looks}");
    // All left, and committed where they ended.
    let group = client.group(&billing()).await.unwrap();
    assert_eq!(group.state, GroupState::Empty);
    let ends: BTreeMap<u32, u64> =
        seen.lock().unwrap().records.keys().map(|(partition, offset)| (*partition, offset + 1)).collect();
    let committed = group.committed.iter().map(|(partition, committed)| (partition.index, committed.offset));
    assert_eq!(committed.collect::<BTreeMap<_, _>>(), ends);
}
