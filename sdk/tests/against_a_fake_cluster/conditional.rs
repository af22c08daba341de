//! Batches that are appended only where the partition ends as expected.

use std::time::Duration;

use quorate::{ErrorCode, ProduceError, Producer, Record};

use crate::cluster::{FakeCluster, orders};

fn records(values: &[&str]) -> Vec<Record> {
    values.iter().map(|value| Record::new((*value).to_owned(), 0)).collect()
}

async fn producer(cluster: &FakeCluster, linger: Duration) -> Producer {
    cluster.client().await.producer(&orders()).linger(linger).build().await.unwrap()
}

fn values(cluster: &FakeCluster) -> Vec<String> {
    cluster.state().partitions[0].values()
}

#[tokio::test]
async fn a_batch_is_appended_where_it_is_expected_and_nowhere_else() {
    let cluster = FakeCluster::start(3, 1).await;
    let producer = producer(&cluster, Duration::ZERO).await;
    let metadata = producer.send_batch_at(0, 0, &records(&["a", "b"])).await.unwrap();
    assert_eq!((metadata.partition, metadata.offset, metadata.duplicate), (0, 0, false));
    assert_eq!(cluster.state().partitions[0].batches.len(), 1);
    for expected in [0, 1, 3] {
        let error = producer.send_batch_at(0, expected, &records(&["no"])).await.unwrap_err();
        let mismatch = matches!(&error, ProduceError::EndOffsetMismatch { expected: found, .. }
            if *found == expected);
        assert!(mismatch && error.has_no_side_effects(), "{error}");
    }
    assert_eq!(producer.send_batch_at(0, 2, &records(&["c"])).await.unwrap().offset, 2);
    assert_eq!(producer.send(records(&["d"]).remove(0).into()).await.unwrap().await.unwrap().offset, 3);
    assert_eq!(values(&cluster), ["a", "b", "c", "d"]);
    assert_eq!(cluster.state().producer_ids, 1, "a mismatch must not cost a producer id");
    assert_eq!(producer.close().await, Ok(()));
}

#[tokio::test]
async fn of_two_writers_that_expect_the_same_end_one_succeeds() {
    let cluster = FakeCluster::start(3, 1).await;
    let (first, second) = (producer(&cluster, Duration::ZERO).await, producer(&cluster, Duration::ZERO).await);
    let (a, b) = (records(&["first"]), records(&["second"]));
    for end in 0..10 {
        let outcomes = tokio::join!(first.send_batch_at(0, end, &a), second.send_batch_at(0, end, &b));
        assert_ne!(outcomes.0.is_ok(), outcomes.1.is_ok(), "{outcomes:?}");
    }
    assert_eq!(values(&cluster).len(), 10);
}

#[tokio::test]
async fn one_whose_answer_was_lost_is_recognised_and_not_taken_for_a_mismatch() {
    let cluster = FakeCluster::start(3, 1).await;
    let producer = producer(&cluster, Duration::ZERO).await;
    cluster.state().lose_produce_answers = 1;
    let metadata = producer.send_batch_at(0, 0, &records(&["a"])).await.unwrap();
    assert_eq!((metadata.offset, metadata.duplicate), (0, true));
    assert_eq!(values(&cluster), ["a"]);
}

#[tokio::test]
async fn one_that_is_refused_for_now_is_sent_again() {
    let cluster = FakeCluster::start(3, 1).await;
    let producer = producer(&cluster, Duration::ZERO).await;
    let codes = [ErrorCode::Overloaded, ErrorCode::DiskFull, ErrorCode::Unavailable];
    cluster.state().refuse_produce = codes.map(Some).into();
    assert_eq!(producer.send_batch_at(0, 0, &records(&["a"])).await.unwrap().offset, 0);
}

#[tokio::test]
async fn a_mismatch_behind_a_lost_answer_leaves_the_outcome_open_and_the_sequence_unused() {
    let cluster = FakeCluster::start(3, 1).await;
    let producer = producer(&cluster, Duration::ZERO).await;
    // The first try may be in the log; the second finds another end.
    cluster.state().refuse_produce.push_back(Some(ErrorCode::Unavailable));
    let error = producer.send_batch_at(0, 7, &records(&["a"])).await.unwrap_err();
    assert!(matches!(&error, ProduceError::EndOffsetMismatch { outcome_unknown: true, .. }), "{error}");
    assert_eq!(producer.send_batch_at(0, 0, &records(&["b"])).await.unwrap().offset, 0);
    assert_eq!(cluster.state().producer_ids, 2, "the first try's sequence must not be used again");
}

#[tokio::test]
async fn it_keeps_its_place_between_what_was_sent_before_and_after() {
    let cluster = FakeCluster::start(3, 1).await;
    let producer = producer(&cluster, Duration::from_secs(600)).await;
    let mut before = Vec::new();
    for value in ["0", "1", "2"] {
        before.push(producer.send(records(&[value]).remove(0).into()).await.unwrap());
    }
    let batch = records(&["3", "4"]);
    let conditional = producer.send_batch_at(0, 3, &batch);
    tokio::pin!(conditional);
    assert!(futures::poll!(&mut conditional).is_pending());
    let after = producer.send(records(&["5"]).remove(0).into()).await.unwrap();
    assert_eq!(conditional.await.unwrap().offset, 3);
    assert_eq!(futures::future::try_join_all(before).await.unwrap().len(), 3);
    producer.flush().await.unwrap();
    assert_eq!(after.await.unwrap().offset, 5);
    assert_eq!(values(&cluster), ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_mismatch_takes_nothing_along_of_what_was_sent_meanwhile() {
    let cluster = FakeCluster::start(3, 1).await;
    let producer = producer(&cluster, Duration::ZERO).await;
    cluster.stall(true);
    let batch = records(&["no"]);
    let conditional = producer.send_batch_at(0, 7, &batch);
    tokio::pin!(conditional);
    assert!(futures::poll!(&mut conditional).is_pending());
    let mut meanwhile = Vec::new();
    for value in ["0", "1", "2"] {
        meanwhile.push(producer.send(records(&[value]).remove(0).into()).await.unwrap());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.stall(false);
    let error = conditional.await.unwrap_err();
    assert!(matches!(error, ProduceError::EndOffsetMismatch { expected: 7, .. }), "{error}");
    futures::future::try_join_all(meanwhile).await.unwrap();
    assert_eq!(values(&cluster), ["0", "1", "2"]);
}

#[tokio::test]
async fn it_goes_alone_among_many_batches_on_their_way_whatever_fails() {
    let cluster = FakeCluster::start(3, 1).await;
    let faults = [None, Some(ErrorCode::Overloaded), None, None, Some(ErrorCode::Unavailable)];
    cluster.state().refuse_produce = faults.into_iter().cycle().take(60).collect();
    cluster.state().lose_produce_answers = 3;
    let client = cluster.client().await;
    let producer = client.producer(&orders()).linger(Duration::ZERO).batch_bytes(1).build().await.unwrap();
    for end in (0..50).step_by(5) {
        let mut deliveries = Vec::new();
        for value in end..end + 4 {
            deliveries.push(producer.send(records(&[&value.to_string()]).remove(0).into()).await.unwrap());
        }
        let last = (end + 4).to_string();
        assert_eq!(producer.send_batch_at(0, end + 4, &records(&[&last])).await.unwrap().offset, end + 4);
        futures::future::try_join_all(deliveries).await.unwrap();
    }
    assert_eq!(values(&cluster), (0..50).map(|value| value.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_can_never_be_appended_is_refused_before_anything_is_sent() {
    let cluster = FakeCluster::start(1, 1).await;
    let producer = producer(&cluster, Duration::ZERO).await;
    assert_eq!(producer.send_batch_at(0, 0, &[]).await, Err(ProduceError::EmptyBatch));
    let unknown = producer.send_batch_at(1, 0, &records(&["a"])).await;
    let error = unknown.unwrap_err();
    assert!(matches!(error, ProduceError::UnknownPartition { partition_count: 1, .. }), "{error}");
    assert_eq!(error.partition(), Some(1));
    let large = Record::new(vec![0u8; 1 << 20], 0);
    let error = producer.send_batch_at(0, 0, std::slice::from_ref(&large)).await.unwrap_err();
    assert!(matches!(error, ProduceError::RecordTooLarge { .. }), "{error}");
    let nearly = vec![Record::new(vec![0u8; 1000 << 10], 0); 9];
    let error = producer.send_batch_at(0, 0, &nearly).await.unwrap_err();
    assert!(matches!(error, ProduceError::BatchTooLarge { size_max: 8_388_608, .. }), "{error}");
    let client = cluster.client().await;
    let small = client.producer(&orders()).buffer_bytes(2 << 20).build().await.unwrap();
    let error = small.send_batch_at(0, 0, &nearly[..3]).await.unwrap_err();
    assert!(matches!(error, ProduceError::BatchTooLarge { size_max: 2_097_152, .. }), "{error}");
    assert_eq!(cluster.state().produce_count, 0);
    producer.close().await.unwrap();
    assert_eq!(producer.send_batch_at(0, 0, &records(&["a"])).await, Err(ProduceError::Closed));
}
