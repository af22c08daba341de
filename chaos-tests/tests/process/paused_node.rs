//! A node that is asleep for a moment, and what it led, and nothing else, has other leaders after that.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use quorate::{Client, NodeId, PartitionInfo, TopicName};
use quorate_chaos_tests::harness::{Cluster, NodeKind, Writers, alone, until};
use tokio::time::sleep;

use crate::{assert_exactly_once, busiest_leader, show};

const PARTITIONS: u32 = 12;
/// Until every node leads what it is preferred for: the cluster must have been calm for some seconds before leadership moves
/// for that.
const SPREAD_WITHIN: Duration = Duration::from_secs(60);
/// Longer than it takes to be suspected, and shorter than it takes to be down.
const PAUSED: Duration = Duration::from_secs(1);
const LED_WITHIN: Duration = Duration::from_secs(30);
/// How long is looked whether the paused node disturbs anybody, and how often.
const WATCHED: Duration = Duration::from_secs(3);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Leader and leader epoch, by partition.
type Leaders = BTreeMap<u32, (NodeId, u64)>;

async fn partitions(client: &Client, topic: &TopicName) -> Result<Vec<PartitionInfo>, String> {
    client.topic(topic).await.map(|info| info.partitions).map_err(|error| error.to_string())
}

/// Who leads, as far as the node that was asked knows.
fn leaders(partitions: &[PartitionInfo]) -> Leaders {
    let leader = |partition: &PartitionInfo| Some((partition.index, (partition.leader?, partition.leader_epoch)));
    partitions.iter().filter_map(leader).collect()
}

/// Who leads, once all partitions have a leader.
async fn all_led(client: &Client, topic: &TopicName) -> Leaders {
    let all_led = async || {
        let partitions = partitions(client, topic).await?;
        let leaders = leaders(&partitions);
        if leaders.len() == PARTITIONS as usize { Ok(leaders) } else { Err(format!("{partitions:?}")) }
    };
    until("all partitions have a leader", LED_WITHIN, all_led).await.0
}

/// Checks that of the partitions that the paused node did not lead, each has the leader and the leader epoch of before.
fn assert_undisturbed(before: &Leaders, paused: NodeId, now: &Leaders) {
    for (partition, leader) in before.iter().filter(|(_, (leader, _))| *leader != paused) {
        // A node that was asleep may not know for a moment: that is no change.
        if let Some(found) = now.get(partition) {
            assert_eq!(found, leader, "partition {partition} was not led by the paused node {paused}");
        }
    }
}

/// Who leads, once that is as the cluster wants it: nothing will be handed over for evenness.
async fn settled(client: &Client, topic: &TopicName) -> Leaders {
    let spread = async || {
        let partitions = partitions(client, topic).await?;
        let preferred = |partition: &PartitionInfo| partition.leader == Some(partition.replicas[0].node);
        let leads = |node| partitions.iter().filter(|partition| partition.leader == Some(NodeId(node))).count();
        let even = (1..=3).all(|node| leads(node) == PARTITIONS as usize / 3);
        if even && partitions.iter().all(preferred) { Ok(leaders(&partitions)) } else { Err(format!("{partitions:?}")) }
    };
    until("every node leads what it is preferred for", SPREAD_WITHIN, spread).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_of_one_node_changes_the_leaders_of_its_own_partitions_only() {
    let _alone = alone().await;
    let cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic(&client, "orders", PARTITIONS).await;
    let writers = Writers::start(&cluster, &topic, 0, 3, PARTITIONS).await;
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 30).await;
    let before = settled(&client, &topic).await;
    let victim = busiest_leader(&client, &topic).await;
    let paused = NodeId(victim as u64 + 1);

    cluster.nodes[victim].pause();
    sleep(PAUSED).await;
    cluster.nodes[victim].resume();
    let resumed = Instant::now();
    let went_on = writers.wait_for_acknowledged(resumed, PARTITIONS, 30).await;
    show("30 records acknowledged on every partition after a node was paused", went_on);
    assert_undisturbed(&before, paused, &all_led(&client, &topic).await);
    let watched = Instant::now();
    while watched.elapsed() < WATCHED {
        assert_undisturbed(&before, paused, &leaders(&partitions(&client, &topic).await.unwrap()));
        sleep(LOOK_INTERVAL).await;
    }
    let now = all_led(&client, &topic).await;
    assert_undisturbed(&before, paused, &now);
    let changed = before.iter().filter(|(partition, leader)| now.get(partition) != Some(leader)).count();
    println!("{changed} of {PARTITIONS} partitions have another leader or leader epoch after node {paused} was paused");
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 30).await;
    let journal = writers.stop().await;
    println!("longest gap between acknowledgements, by partition: {:.2?}", journal.longest_gaps(PARTITIONS));
    assert_exactly_once("after a pause", &cluster, &topic, &journal).await;
}
