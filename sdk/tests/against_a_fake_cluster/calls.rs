//! Calls about the cluster and its topics.

use std::time::{Duration, Instant};

use quorate::{Client, Error, ErrorCode, OffsetQuery, TopicConfig};

use crate::cluster::{FakeCluster, orders};

fn config(partitions: u32) -> TopicConfig {
    TopicConfig { partitions, ..TopicConfig::default() }
}

#[tokio::test]
async fn a_client_connects_through_any_node_and_learns_the_others() {
    let cluster = FakeCluster::start(3, 1).await;
    cluster.take_down(1);
    cluster.lead(3, 2);
    let client = cluster.client_of(&[1, 2], Duration::from_secs(5)).await;
    assert_eq!(client.cluster_info().await.unwrap().nodes.len(), 3);
    assert_eq!(client.offset(&orders(), 0, OffsetQuery::Last).await.unwrap(), 0);
    // Node 2 was the only one of those named that answered: node 3 has to be known now.
    cluster.take_down(2);
    assert_eq!(client.topics().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_unreachable_cluster_is_reported_in_time_with_the_addresses() {
    let begun = Instant::now();
    let servers = vec!["127.0.0.1:1".parse().unwrap()];
    let connected = Client::builder().servers(servers).timeout(Duration::from_millis(300)).connect().await;
    let error = connected.map(|_| ()).unwrap_err();
    assert!(matches!(&error, Error::Unreachable { servers, .. } if servers == "127.0.0.1:1"), "{error}");
    assert!(error.is_retryable() && error.has_no_side_effects());
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(matches!(Client::connect("nowhere").await, Err(Error::InvalidArgument(_))));
}

#[tokio::test]
async fn creating_a_topic_waits_for_its_leaders() {
    let cluster = FakeCluster::start(1, 0).await;
    cluster.state().looks_without_leader = 3;
    let topic = cluster.client().await.create_topic(&orders(), config(2)).await.unwrap();
    assert_eq!(topic.partitions.len(), 2);
    assert!(topic.partitions.iter().all(|partition| partition.leader.is_some()));
}

#[tokio::test]
async fn a_topic_without_leaders_in_time_is_returned_all_the_same() {
    let cluster = FakeCluster::start(1, 0).await;
    cluster.state().looks_without_leader = u32::MAX;
    let client = cluster.client_of(&[1], Duration::from_millis(400)).await;
    let begun = Instant::now();
    let topic = client.create_topic(&orders(), config(1)).await.unwrap();
    assert!(topic.partitions.iter().all(|partition| partition.leader.is_none()));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_succeeds_but_not_one_that_came_second() {
    let cluster = FakeCluster::start(1, 0).await;
    let client = cluster.client().await;
    cluster.state().lose_answers = 1;
    let topic = client.create_topic(&orders(), config(2)).await.unwrap();
    assert_eq!(topic.partitions.len(), 2);
    let error = client.create_topic(&orders(), config(2)).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TopicExists));
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_succeeds_although_a_node_has_not_heard_of_the_topic_yet() {
    let cluster = FakeCluster::start(1, 0).await;
    let client = cluster.client().await;
    cluster.state().lose_answers = 1;
    cluster.state().looks_behind = 3;
    let topic = client.create_topic(&orders(), config(2)).await.unwrap();
    assert_eq!((topic.partitions.len(), cluster.state().looks_behind), (2, 0));
    // One that stays behind is no reason to say that the topic does not exist.
    let client = cluster.client_of(&[1], Duration::from_millis(500)).await;
    client.delete_topic(&orders()).await.unwrap();
    cluster.state().lose_answers = 1;
    cluster.state().looks_behind = u32::MAX;
    let error = client.create_topic(&orders(), config(2)).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TopicExists));
}

#[tokio::test]
async fn a_delete_whose_answer_was_lost_succeeds_but_not_one_of_nothing() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    cluster.state().lose_answers = 1;
    client.delete_topic(&orders()).await.unwrap();
    let error = client.delete_topic(&orders()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopic));
}

#[tokio::test]
async fn a_drain_is_repeated_when_its_answer_is_lost_and_does_not_claim_to_have_changed_nothing() {
    let cluster = FakeCluster::start(2, 0).await;
    let client = cluster.client().await;
    cluster.state().lose_answers = 1;
    client.drain_node(quorate::NodeId(2), true).await.unwrap();
    let error = client.drain_node(quorate::NodeId(3), true).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownNode));
    assert!(error.to_string().starts_with("cannot drain node 3: "), "{error}");
    let client = cluster.client_of(&[1], std::time::Duration::from_millis(500)).await;
    cluster.state().lose_answers = u32::MAX;
    let error = client.drain_node(quorate::NodeId(2), false).await.unwrap_err();
    assert!(error.is_retryable() && !error.has_no_side_effects(), "{error}");
}

#[tokio::test]
async fn the_newest_metadata_index_is_sent_along() {
    let cluster = FakeCluster::start(2, 0).await;
    let client = cluster.client().await;
    let topic = client.create_topic(&orders(), config(1)).await.unwrap();
    client.topic(&orders()).await.unwrap();
    assert_eq!(cluster.state().min_metadata_indexes.last(), Some(&topic.created_at));
}

#[tokio::test]
async fn a_partition_without_a_leader_times_out_with_a_reason() {
    let cluster = FakeCluster::start(2, 1).await;
    let client = cluster.client_of(&[1], Duration::from_millis(400)).await;
    {
        let mut state = cluster.state();
        state.leader = None;
        state.announced_leader = None;
    }
    let begun = Instant::now();
    let error = client.offset(&orders(), 0, OffsetQuery::Last).await.unwrap_err();
    assert!(matches!(&error, Error::TimedOut { code: Some(ErrorCode::NotLeader), .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(2), "took {:?}", begun.elapsed());
}

#[tokio::test]
async fn missing_topics_and_partitions_are_refused_without_retries() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    let begun = Instant::now();
    let error = client.topic(&"nothing".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopic));
    let error = client.offset(&orders(), 1, OffsetQuery::First).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownPartition));
    assert!(begun.elapsed() < Duration::from_secs(1));
    let error = client.create_topic(&orders(), config(0)).await.unwrap_err();
    assert!(matches!(error, Error::InvalidArgument(_)));
}

#[tokio::test]
async fn nodes_are_added_and_removed_and_lost_answers_are_asked_for_again() {
    let cluster = FakeCluster::start(2, 0).await;
    let client = cluster.client().await;
    let address = |text: &str| quorate::Address::parse(text).unwrap();
    assert_eq!(client.add_node(&address("127.0.0.1:9")).await.unwrap(), quorate::NodeId(3));
    let error = client.add_node(&address("127.0.0.1:1")).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NodeUnreachable));
    assert!(!error.is_retryable() && error.to_string().starts_with("cannot add the node at 127.0.0.1:1: "), "{error}");
    cluster.state().lose_answers = 1;
    client.remove_node(quorate::NodeId(2), Some(quorate::Departure::Dead)).await.unwrap();
    let error = client.remove_node(quorate::NodeId(7), None).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NodeRemoved));
    assert!(error.to_string().starts_with("cannot keep node 7: "), "{error}");
    client.rebalance().await.unwrap();
    assert_eq!(client.tasks().await.unwrap(), quorate::Tasks::default());
}

#[tokio::test]
async fn only_what_is_set_of_an_alteration_is_sent() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    let alteration = quorate::TopicAlteration::default().replication_factor(5).retention_bytes(None);
    cluster.state().lose_answers = 1;
    client.alter_topic(&orders(), &alteration).await.unwrap();
    let sent = cluster.state().altered.clone().unwrap();
    assert_eq!((sent.partitions, sent.replication_factor), (None, Some(5)));
    assert_eq!((sent.retention_time, sent.retention_bytes), (None, Some(None)));
}
