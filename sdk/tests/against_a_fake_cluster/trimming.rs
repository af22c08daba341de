//! Deleting the oldest records, and what consumers make of it; finding records by time.

use std::time::Duration;

use quorate::{Error, ErrorCode, OffsetQuery, Position};

use crate::cluster::{FakeCluster, orders};
use crate::consuming::{SOON, fill, filled, read};

#[tokio::test]
async fn a_trim_moves_the_log_start_and_never_back() {
    let (cluster, client, _producer) = filled(10, 2).await;
    assert_eq!(client.trim(&orders(), 0, 5).await, Ok(5));
    assert_eq!(client.trim(&orders(), 0, 3).await, Ok(5));
    assert_eq!(client.offset(&orders(), 0, OffsetQuery::First).await, Ok(5));
    let mut consumer = client.consumer(&orders()).build().await.unwrap();
    assert_eq!(read(&mut consumer, 5).await, [5, 6, 7, 8, 9]);
    let error = client.trim(&orders(), 0, 11).await.unwrap_err();
    assert_eq!((error.code(), error.has_no_side_effects()), (Some(ErrorCode::OffsetOutOfRange), true));
    assert!(error.to_string().starts_with("cannot trim partition 0 of topic orders before offset 11: "), "{error}");
    let error = client.trim(&orders(), 1, 0).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownPartition));
    assert_eq!(cluster.state().partitions[0].log_start, 5);
}

#[tokio::test]
async fn a_trim_whose_answer_was_lost_or_whose_leader_moved_is_repeated() {
    let (cluster, client, _producer) = filled(10, 2).await;
    cluster.state().lose_answers = 1;
    assert_eq!(client.trim(&orders(), 0, 4).await, Ok(4));
    cluster.state().leader = Some(quorate::NodeId(3));
    assert_eq!(client.trim(&orders(), 0, 6).await, Ok(6));
}

#[tokio::test]
async fn a_trim_that_gets_no_answer_does_not_claim_to_have_changed_nothing() {
    let (cluster, _, _producer) = filled(10, 2).await;
    let client = cluster.client_of(&[1], Duration::from_millis(500)).await;
    client.topic(&orders()).await.unwrap();
    cluster.state().lose_answers = u32::MAX;
    let error = client.trim(&orders(), 0, 4).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { outcome_unknown: true, .. }), "{error}");
    assert!(error.is_retryable() && !error.has_no_side_effects());
}

#[tokio::test]
async fn a_consumer_from_the_first_record_follows_a_trim_that_comes_before_it() {
    let (cluster, client, _producer) = filled(10, 2).await;
    client.trim(&orders(), 0, 6).await.unwrap();
    cluster.state().stale_first_offsets = 1;
    let mut consumer = client.consumer(&orders()).build().await.unwrap();
    assert_eq!(consumer.position(0), Some(0), "the test must begin where nothing is left");
    assert_eq!(read(&mut consumer, 4).await, [6, 7, 8, 9]);
    cluster.state().stale_first_offsets = 1;
    consumer.seek(0, Position::First).await.unwrap();
    assert_eq!(read(&mut consumer, 4).await, [6, 7, 8, 9]);
}

#[tokio::test]
async fn a_consumer_from_the_first_record_knows_its_position_when_all_records_are_gone() {
    let (cluster, client, producer) = filled(10, 2).await;
    client.trim(&orders(), 0, 10).await.unwrap();
    cluster.state().stale_first_offsets = 1;
    let mut consumer = client.consumer(&orders()).build().await.unwrap();
    assert!(consumer.poll(Duration::from_millis(300)).await.unwrap().is_empty());
    assert_eq!(consumer.position(0), Some(10));
    fill(&producer, 10..12, 2).await;
    assert_eq!(read(&mut consumer, 2).await, [10, 11]);
}

#[tokio::test]
async fn a_consumer_whose_next_record_is_gone_is_told_what_is_left() {
    let (cluster, client, _producer) = filled(10, 1).await;
    client.trim(&orders(), 0, 5).await.unwrap();
    let mut consumer = client.consumer(&orders()).from(Position::Offset(2)).build().await.unwrap();
    for _ in 0..2 {
        let error = consumer.poll(SOON).await.unwrap_err();
        let expected = matches!(error, Error::OffsetOutOfRange { offset: 2, log_start_offset: 5, end_offset: 10, .. });
        assert!(expected, "{error}");
        assert!(error.to_string().contains("from 5 to before 10, what was before is deleted; seek"), "{error}");
        assert!(!error.is_retryable() && error.has_no_side_effects());
    }

    // One that began at the first record, but has read some, must not skip others silently.
    let mut consumer = client.consumer(&orders()).fetch_bytes(1).build().await.unwrap();
    assert_eq!(read(&mut consumer, 1).await, [5]);
    cluster.state().partitions[0].trim(10);
    let error = loop {
        match consumer.poll(SOON).await {
            Ok(records) => assert!(!records.is_empty(), "an error was expected"),
            Err(error) => break error,
        }
    };
    let Error::OffsetOutOfRange { offset, log_start_offset: 10, .. } = error else { panic!("{error}") };
    assert_eq!(Some(offset), consumer.position(0));
    consumer.seek(0, Position::First).await.unwrap();
    assert!(consumer.poll(Duration::from_millis(50)).await.unwrap().is_empty());
}

#[tokio::test]
async fn reading_begins_at_the_first_batch_of_a_time() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    let producer = client.producer(&orders()).linger(SOON).build().await.unwrap();
    for (now_ms, values) in [(1_000, 0..4), (2_000, 4..6), (3_000, 6..8)] {
        cluster.state().now_ms = now_ms;
        fill(&producer, values, 2).await;
    }
    for (ms, offset) in [(-1, 0), (1_000, 0), (1_001, 4), (2_000, 4), (3_000, 6), (3_001, 8)] {
        assert_eq!(client.offset_at_time(&orders(), 0, ms).await, Ok(offset), "{ms}");
    }
    let mut consumer = client.consumer(&orders()).from(Position::AtTime { ms: 1_500 }).build().await.unwrap();
    assert_eq!(read(&mut consumer, 4).await, [4, 5, 6, 7]);
    consumer.seek(0, Position::AtTime { ms: 2_500 }).await.unwrap();
    assert_eq!(read(&mut consumer, 2).await, [6, 7]);
}
