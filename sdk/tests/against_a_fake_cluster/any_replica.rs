//! Reading from followers.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use quorate::{Client, Consumer, NodeId, Position, ServeFrom};

use crate::cluster::{FakeCluster, orders};
use crate::consuming::{fill, filled, read};

async fn consumer(client: &Client) -> Consumer {
    client.consumer(&orders()).serve_from(ServeFrom::AnyReplica).build().await.unwrap()
}

/// The nodes that were asked for records since the last call.
fn asked(cluster: &FakeCluster) -> BTreeSet<u64> {
    std::mem::take(&mut cluster.state().fetches).into_iter().map(|(node, _)| node).collect()
}

#[tokio::test]
async fn followers_serve_where_any_replica_may_and_the_leader_where_not() {
    let (cluster, client, _producer) = filled(100, 10).await;
    let mut any = client.consumer(&orders()).serve_from(ServeFrom::AnyReplica).fetch_bytes(200).build().await.unwrap();
    assert_eq!(read(&mut any, 100).await, (0..100).collect::<Vec<_>>());
    let follower = cluster.state().fetches[0].0;
    assert_ne!(follower, 1);
    let mut default = client.consumer(&orders()).build().await.unwrap();
    assert_eq!(read(&mut default, 100).await.len(), 100);
    let fetches = std::mem::take(&mut cluster.state().fetches);
    type Fetches<'a> = Vec<&'a (u64, ServeFrom)>;
    let (any, leader): (Fetches<'_>, Fetches<'_>) = fetches.iter().partition(|fetch| fetch.1 == ServeFrom::AnyReplica);
    assert!(any.len() > 5 && any.iter().all(|fetch| fetch.0 == follower), "one follower: {fetches:?}");
    assert!(!leader.is_empty() && leader.iter().all(|fetch| fetch.0 == 1), "{fetches:?}");
}

#[tokio::test]
async fn consumers_are_spread_over_the_followers() {
    let (cluster, client, _producer) = filled(10, 10).await;
    for _ in 0..24 {
        assert_eq!(read(&mut consumer(&client).await, 10).await.len(), 10);
    }
    assert_eq!(asked(&cluster), BTreeSet::from([2, 3]));
}

#[tokio::test]
async fn a_follower_that_does_not_serve_is_left_for_the_other_and_at_last_for_the_leader() {
    let (cluster, client, _producer) = filled(10, 10).await;
    cluster.state().fetches_refused = vec![NodeId(2)];
    for _ in 0..8 {
        assert_eq!(read(&mut consumer(&client).await, 10).await.len(), 10);
    }
    assert_eq!(asked(&cluster), BTreeSet::from([2, 3]), "the leader is not needed");
    cluster.take_down(3);
    assert_eq!(read(&mut consumer(&client).await, 10).await.len(), 10);
    assert!(asked(&cluster).contains(&1));
}

#[tokio::test]
async fn reading_goes_on_when_the_follower_dies() {
    let (cluster, client, producer) = filled(10, 10).await;
    let mut consumer = consumer(&client).await;
    assert_eq!(read(&mut consumer, 10).await.len(), 10);
    let serving = *asked(&cluster).first().unwrap();
    cluster.take_down(serving);
    fill(&producer, 10..20, 10).await;
    assert_eq!(read(&mut consumer, 10).await, (10..20).collect::<Vec<_>>());
    assert!(!asked(&cluster).contains(&1), "the other follower serves");
}

#[tokio::test]
async fn a_follower_that_is_behind_holds_its_consumer_back_only_for_a_while() {
    let (cluster, client, _producer) = filled(10, 1).await;
    cluster.state().follower_ends = [(NodeId(2), 4), (NodeId(3), 4)].into();
    let mut consumer = consumer(&client).await;
    let begun = Instant::now();
    while consumer.position(0) != Some(10) {
        consumer.poll(Duration::from_secs(1)).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(15), "stands at {:?}", consumer.position(0));
    }
    assert_eq!(asked(&cluster), BTreeSet::from([1, 2, 3]));
}

#[tokio::test]
async fn an_offset_that_a_follower_does_not_know_yet_is_waited_for() {
    let (cluster, client, _producer) = filled(10, 1).await;
    cluster.state().follower_ends = [(NodeId(2), 4), (NodeId(3), 4)].into();
    let from = Position::Offset(8);
    let builder = client.consumer(&orders()).serve_from(ServeFrom::AnyReplica).from(from);
    let mut consumer = builder.max_wait(Duration::from_millis(50)).build().await.unwrap();
    assert!(consumer.poll(Duration::from_millis(200)).await.unwrap().is_empty());
    cluster.state().follower_ends.clear();
    assert_eq!(read(&mut consumer, 2).await, [8, 9]);
    assert!(!asked(&cluster).contains(&1));
}

#[tokio::test]
async fn a_deleted_topic_ends_reading_from_followers_too() {
    let (_cluster, client, _producer) = filled(1, 1).await;
    let mut consumer = consumer(&client).await;
    assert_eq!(read(&mut consumer, 1).await, [0]);
    client.delete_topic(&orders()).await.unwrap();
    let error = consumer.poll(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(error.code(), Some(quorate::ErrorCode::TopicDeleted));
}
