//! Real processes on loopback: killed, cut off from each other, starved of their disk, wiped, and used wrongly.
//!
//! Here is what only processes show; the layers below have tests of their own.

#![expect(clippy::unwrap_used, reason = "tests")]

mod any_node;
mod bad_input;
mod chaos;
mod drain;
mod full_disk;
mod groups;
mod hand_over;
mod held_sync;
mod leader_loss;
mod membership;
mod metadata_log;
mod missing_node;
mod move_steps;
mod output;
mod paused_node;
mod power_cycle;
mod rebalance;
mod recovery;
mod refused_start;
mod retention;
mod rolling_restart;
mod topic_deletion;
mod unresponsive;
mod upgrade;
mod verify_lines;

use std::time::Duration;

use quorate::{Client, NodeId, TopicName};
use quorate_chaos_tests::harness::{Cluster, Journal, check, consume_all, until};

const HEALTHY_MAX: Duration = Duration::from_secs(30);

/// The node that leads most partitions of the topic, as an index of the cluster's nodes.
async fn busiest_leader(client: &Client, topic: &TopicName) -> usize {
    let partitions = client.topic(topic).await.unwrap().partitions;
    let leads = |node: &u64| partitions.iter().filter(|partition| partition.leader == Some(NodeId(*node))).count();
    let busiest = (1..=3).max_by_key(leads).unwrap();
    assert!(leads(&busiest) > 0, "{partitions:?}");
    busiest as usize - 1
}

/// Checks that nothing failed and that what was acknowledged is there, once and in order; prints how much that is.
async fn assert_exactly_once(what: &str, cluster: &Cluster, topic: &TopicName, journal: &Journal) {
    assert!(journal.failure().is_none(), "{:?}", journal.failure());
    let acknowledged = journal.acknowledged();
    let consumed = consume_all(&cluster.client().await, topic).await;
    let summary = check(&acknowledged, &consumed).unwrap_or_else(|violation| panic!("{what}: {violation}"));
    println!("{what}: {} records acknowledged, {} read back", acknowledged.len(), summary.records);
    assert_eq!(summary.records, acknowledged.len(), "every record was acknowledged in the end");
}

/// Waits until all partitions have leaders and all of their replicas in sync.
async fn wait_until_healthy(client: &Client) {
    let healthy = async || {
        let info = client.cluster_info().await.map_err(|error| error.to_string())?;
        match (info.leaderless_partition_count, info.under_replicated_partition_count) {
            (0, 0) => Ok(()),
            other => Err(format!("{other:?} partitions lead nothing or lack replicas")),
        }
    };
    until("the cluster is healthy", HEALTHY_MAX, healthy).await;
}

fn show(what: &str, took: Duration) {
    println!("{what}: {:.2} s", took.as_secs_f64());
}
