//! In order, without gaps, from anywhere.

use std::time::{Duration, Instant};

use quorate::{Consumer, Error, ErrorCode, NodeId, Position, Producer, Record, split_batches};

use crate::cluster::{FakeCluster, orders};

pub(crate) const SOON: Duration = Duration::from_secs(5);

/// Appends values in batches of `batch`.
pub(crate) async fn fill(producer: &Producer, values: std::ops::Range<u32>, batch: usize) {
    for (index, value) in values.enumerate() {
        drop(producer.send(Record::new(value.to_string(), 0).into()).await.unwrap());
        if (index + 1) % batch == 0 {
            producer.flush().await.unwrap();
        }
    }
    producer.flush().await.unwrap();
}

pub(crate) async fn filled(values: u32, batch: usize) -> (FakeCluster, quorate::Client, Producer) {
    let cluster = FakeCluster::start(3, 1).await;
    let client = cluster.client().await;
    let producer = client.producer(&orders()).linger(SOON).build().await.unwrap();
    fill(&producer, 0..values, batch).await;
    (cluster, client, producer)
}

pub(crate) async fn read(consumer: &mut Consumer, count: usize) -> Vec<u64> {
    let mut offsets = Vec::new();
    while offsets.len() < count {
        let records = consumer.poll(SOON).await.unwrap();
        assert!(!records.is_empty(), "only {} of {count} records came", offsets.len());
        for record in &records {
            assert_eq!(record.record.value.as_deref(), Some(record.offset.to_string().as_bytes()));
        }
        offsets.extend(records.iter().map(|record| record.offset));
    }
    offsets
}

#[tokio::test]
async fn all_records_are_read_in_order_over_many_fetches() {
    let (_cluster, client, _producer) = filled(100, 10).await;
    let mut consumer = client.consumer(&orders()).fetch_bytes(200).build().await.unwrap();
    assert_eq!(read(&mut consumer, 100).await, (0..100).collect::<Vec<_>>());
    assert_eq!((consumer.position(0), consumer.position(1)), (Some(100), None));
    assert_eq!(consumer.end_offsets().await.unwrap().into_iter().collect::<Vec<_>>(), [(0, 100)]);
}

#[tokio::test]
async fn reading_from_inside_a_batch_skips_what_is_before() {
    let (_cluster, client, _producer) = filled(10, 10).await;
    let mut consumer = client.consumer(&orders()).from(Position::Offset(7)).build().await.unwrap();
    assert_eq!(read(&mut consumer, 3).await, [7, 8, 9]);
}

#[tokio::test]
async fn seeking_makes_what_was_fetched_ahead_out_of_date() {
    let (_cluster, client, _producer) = filled(10, 1).await;
    let mut consumer = client.consumer(&orders()).fetch_bytes(1).build().await.unwrap();
    assert_eq!(read(&mut consumer, 2).await, [0, 1]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    consumer.seek(0, Position::Offset(8)).await.unwrap();
    assert_eq!(read(&mut consumer, 2).await, [8, 9]);
    consumer.seek(0, Position::First).await.unwrap();
    assert_eq!(read(&mut consumer, 1).await, [0]);
    let error = consumer.seek(5, Position::First).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownPartition));
}

#[tokio::test]
async fn a_poll_without_records_is_empty_in_time_and_later_ones_get_what_came() {
    let (_cluster, client, producer) = filled(5, 5).await;
    let mut consumer = client.consumer(&orders()).from(Position::Last).build().await.unwrap();
    let begun = Instant::now();
    assert!(consumer.poll(Duration::from_millis(100)).await.unwrap().is_empty());
    assert!(begun.elapsed() < Duration::from_secs(1));
    fill(&producer, 5..6, 1).await;
    assert_eq!(read(&mut consumer, 1).await, [5]);
}

#[tokio::test]
async fn reading_goes_on_with_another_leader() {
    let (cluster, client, producer) = filled(5, 5).await;
    let mut consumer = client.consumer(&orders()).build().await.unwrap();
    assert_eq!(read(&mut consumer, 5).await, [0, 1, 2, 3, 4]);
    cluster.lead(2, 2);
    fill(&producer, 5..8, 1).await;
    assert_eq!(read(&mut consumer, 3).await, [5, 6, 7]);
}

#[tokio::test]
async fn raw_batches_are_whole_and_tell_where_to_read_on() {
    let (_cluster, client, _producer) = filled(6, 3).await;
    let mut consumer = client.consumer(&orders()).build().await.unwrap();
    let raw = consumer.poll_raw(SOON).await.unwrap();
    let [raw] = raw.as_slice() else { panic!("one partition was expected: {raw:?}") };
    assert_eq!((raw.partition, raw.next_offset), (0, 6));
    assert_eq!(split_batches(raw.batches.clone()).count(), 2);
    assert!(consumer.poll_raw(Duration::from_millis(50)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_node_that_goes_back_is_found_out_and_the_partition_can_be_read_on() {
    let (cluster, client, _producer) = filled(4, 1).await;
    cluster.state().fetch_back = 2;
    let mut consumer = client.consumer(&orders()).from(Position::Offset(3)).build().await.unwrap();
    let error = consumer.poll(SOON).await.unwrap_err();
    assert!(matches!(error, Error::OffsetsNotDense { expected: 3, first: 1, last: 1, .. }), "{error}");
    cluster.state().fetch_back = 0;
    // What was fetched meanwhile may still be wrong, but nothing wrong is handed out.
    while consumer.poll(SOON).await.map_or(true, |records| records.iter().any(|record| record.offset != 3)) {}
    assert_eq!(consumer.position(0), Some(4));
}

#[tokio::test]
async fn an_offset_beyond_the_end_is_explained() {
    let (_cluster, client, _producer) = filled(4, 1).await;
    let mut consumer = client.consumer(&orders()).from(Position::Offset(9)).build().await.unwrap();
    let error = consumer.poll(SOON).await.unwrap_err();
    let expected = matches!(error, Error::OffsetOutOfRange { offset: 9, log_start_offset: 0, end_offset: 4, .. });
    assert!(expected && error.code() == Some(ErrorCode::OffsetOutOfRange), "{error}");
    assert_eq!((error.topic(), error.partition(), error.node()), (Some(&orders()), Some(0), Some(NodeId(1))));
    assert!(error.to_string().contains("it holds offsets from 0 to before 4; seek"), "{error}");
    consumer.seek(0, Position::Offset(3)).await.unwrap();
    assert_eq!(read(&mut consumer, 1).await, [3]);
}

#[tokio::test]
async fn a_deleted_topic_ends_reading_with_an_error() {
    let (_cluster, client, _producer) = filled(1, 1).await;
    let mut consumer = client.consumer(&orders()).max_wait(Duration::from_millis(20)).build().await.unwrap();
    assert_eq!(read(&mut consumer, 1).await, [0]);
    client.delete_topic(&orders()).await.unwrap();
    let error = consumer.poll(SOON).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TopicDeleted));
}
