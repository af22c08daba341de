//! Exactly once, in order, bounded.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use quorate::{Compression, ErrorCode, ProduceError, Producer, ProducerRecord, Record, RecordMetadata, TopicConfig};

use crate::cluster::{FakeCluster, orders};

fn record(value: impl ToString) -> ProducerRecord {
    Record::new(value.to_string(), 0).into()
}

async fn producer(cluster: &FakeCluster) -> Producer {
    cluster.client().await.producer(&orders()).linger(Duration::ZERO).build().await.unwrap()
}

async fn send_and_wait(producer: &Producer, value: &str) -> Result<RecordMetadata, ProduceError> {
    producer.send(record(value)).await?.await
}

#[tokio::test]
async fn records_are_acknowledged_with_their_offsets() {
    let cluster = FakeCluster::start(3, 1).await;
    let client = cluster.client().await;
    let producer = client.producer(&orders()).compression(Compression::Lz4).build().await.unwrap();
    let mut deliveries = Vec::new();
    for value in 0..100 {
        deliveries.push(producer.send(record(value)).await.unwrap());
    }
    let metadata = futures::future::try_join_all(deliveries).await.unwrap();
    let offsets: Vec<_> = metadata.iter().map(|metadata| metadata.offset).collect();
    assert_eq!(offsets, (0..100).collect::<Vec<_>>());
    assert!(metadata.iter().all(|metadata| !metadata.duplicate));
    assert_eq!(cluster.state().partitions[0].values(), (0..100).map(|value| value.to_string()).collect::<Vec<_>>());
    assert!(cluster.state().produce_count < 100, "records must be batched");
}

#[tokio::test]
async fn records_go_to_the_partition_they_name_or_their_key_names() {
    let cluster = FakeCluster::start(1, 3).await;
    let producer = producer(&cluster).await;
    let explicit = ProducerRecord { partition: Some(2), ..record("explicit") };
    assert_eq!(producer.send(explicit).await.unwrap().await.unwrap().partition, 2);
    let keyed = || ProducerRecord::from(Record::new("keyed", 0).with_key("abc"));
    for _ in 0..3 {
        // murmur2("abc") is 479470107, which 3 divides without a rest.
        assert_eq!(producer.send(keyed()).await.unwrap().await.unwrap().partition, 479_470_107 % 3);
    }
    let missing = ProducerRecord { partition: Some(3), ..record("missing") };
    let error = producer.send(missing).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, ProduceError::UnknownPartition { partition_count: 3, .. }), "{error}");
    assert_eq!((error.topic(), error.partition()), (Some(&orders()), Some(3)));
}

#[tokio::test]
async fn records_without_keys_are_spread_over_all_partitions() {
    let cluster = FakeCluster::start(1, 3).await;
    let producer = producer(&cluster).await;
    for value in 0..9 {
        producer.send(record(value)).await.unwrap().await.unwrap();
    }
    let counts: Vec<_> = cluster.state().partitions.iter().map(|partition| partition.values().len()).collect();
    assert_eq!(counts, [3, 3, 3]);
}

#[tokio::test]
async fn a_refusal_that_names_the_leader_is_followed() {
    let cluster = FakeCluster::start(3, 1).await;
    let producer = producer(&cluster).await;
    send_and_wait(&producer, "a").await.unwrap();
    // The metadata still names node 1, as it does for a while after an election.
    cluster.state().leader = Some(quorate::NodeId(3));
    let metadata = send_and_wait(&producer, "b").await.unwrap();
    assert_eq!((metadata.offset, metadata.duplicate), (1, false));
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_appended_once() {
    let cluster = FakeCluster::start(3, 1).await;
    let producer = producer(&cluster).await;
    cluster.state().lose_produce_answers = 1;
    let metadata = send_and_wait(&producer, "a").await.unwrap();
    assert_eq!((metadata.offset, metadata.duplicate), (0, true));
    assert_eq!(cluster.state().partitions[0].values(), ["a"]);
    assert_eq!(producer.close().await, Ok(()));
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_neither_loses_nor_repeats_anything() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    let producer = client.producer(&orders()).linger(Duration::ZERO).batch_bytes(1).build().await.unwrap();
    cluster.state().refuse_produce = [ErrorCode::DiskFull, ErrorCode::Overloaded].map(Some).repeat(3).into();
    let mut deliveries = Vec::new();
    for value in 0..20 {
        deliveries.push(producer.send(record(value)).await.unwrap());
    }
    futures::future::try_join_all(deliveries).await.unwrap();
    assert_eq!(cluster.state().partitions[0].values(), (0..20).map(|value| value.to_string()).collect::<Vec<_>>());
    assert_eq!(cluster.state().producer_ids, 1);
}

#[tokio::test]
async fn a_disk_that_stays_full_fails_the_record_at_its_deadline_and_says_why() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    let builder = client.producer(&orders()).linger(Duration::ZERO).delivery_timeout(Duration::from_millis(600));
    let producer = builder.build().await.unwrap();
    cluster.state().refuse_produce = vec![Some(ErrorCode::DiskFull); 1000].into();
    let begun = Instant::now();
    let error = send_and_wait(&producer, "a").await.unwrap_err();
    assert!(matches!(&error, ProduceError::TimedOut { code: Some(ErrorCode::DiskFull), .. }), "{error}");
    assert!(error.is_retryable() && error.has_no_side_effects(), "{error}");
    assert!(begun.elapsed() >= Duration::from_millis(600) && begun.elapsed() < Duration::from_secs(2));
    let tries = cluster.state().produce_count;
    assert!((3..30).contains(&tries), "{tries} tries in 600 ms: there must be pauses that grow");
}

#[tokio::test]
async fn a_producer_that_was_forgotten_goes_on_under_a_new_id_and_loses_nothing() {
    let cluster = FakeCluster::start(3, 1).await;
    let client = cluster.client().await;
    let builder = client.producer(&orders()).linger(Duration::ZERO).batch_bytes(1);
    let producer = builder.compression(Compression::Zstd).build().await.unwrap();
    for round in 0..3 {
        let mut deliveries = Vec::new();
        for value in 0..20 {
            deliveries.push(producer.send(record(round * 20 + value)).await.unwrap());
        }
        let metadata = futures::future::try_join_all(deliveries).await.unwrap();
        assert!(metadata.iter().map(|metadata| metadata.offset).eq(round * 20..round * 20 + 20));
        cluster.state().partitions[0].expire_producers();
    }
    assert_eq!(cluster.state().partitions[0].values(), (0..60).map(|value| value.to_string()).collect::<Vec<_>>());
    assert_eq!(cluster.state().producer_ids, 3);
    assert_eq!(producer.send_batch_at(0, 60, &[Record::new("60", 0)]).await.unwrap().offset, 60);
    assert_eq!(producer.close().await, Ok(()));
}

#[tokio::test]
async fn a_batch_that_may_be_in_the_log_is_not_sent_under_another_id() {
    let cluster = FakeCluster::start(3, 1).await;
    let producer = producer(&cluster).await;
    send_and_wait(&producer, "a").await.unwrap();
    cluster.state().refuse_produce = [ErrorCode::Unavailable, ErrorCode::UnknownProducer].map(Some).into();
    let error = send_and_wait(&producer, "b").await.unwrap_err();
    assert_eq!((error.code(), error.has_no_side_effects()), (Some(ErrorCode::UnknownProducer), false));
    assert_eq!(cluster.state().partitions[0].values(), ["a"]);
}

#[tokio::test]
async fn order_is_kept_with_five_in_flight_whatever_fails() {
    let cluster = FakeCluster::start(3, 1).await;
    {
        let mut state = cluster.state();
        let faults = [None, None, Some(ErrorCode::Overloaded), None, None, Some(ErrorCode::Unavailable), None];
        state.refuse_produce = faults.into_iter().cycle().take(70).collect();
        state.lose_produce_answers = 5;
    }
    let client = cluster.client().await;
    // A batch per record, so that the window is always full.
    let producer = client.producer(&orders()).linger(Duration::ZERO).batch_bytes(1).build().await.unwrap();
    let mut deliveries = Vec::new();
    for value in 0..300 {
        deliveries.push(producer.send(record(value)).await.unwrap());
        if value == 150 {
            cluster.lead(2, 2);
        }
    }
    let metadata = futures::future::try_join_all(deliveries).await.unwrap();
    assert_eq!(cluster.state().partitions[0].values(), (0..300).map(|value| value.to_string()).collect::<Vec<_>>());
    assert!(metadata.iter().enumerate().all(|(index, metadata)| metadata.offset == index as u64));
    assert!(metadata.iter().any(|metadata| metadata.duplicate), "the test must have lost answers");
    assert_eq!(cluster.state().producer_ids, 1, "nothing may need a second producer id");
}

#[tokio::test]
async fn delivery_goes_on_with_another_leader_when_one_dies() {
    let cluster = FakeCluster::start(3, 1).await;
    let client = cluster.client_of(&[1, 2, 3], Duration::from_secs(5)).await;
    let producer = client.producer(&orders()).linger(Duration::ZERO).batch_bytes(1).build().await.unwrap();
    let mut deliveries = Vec::new();
    for value in 0..100 {
        deliveries.push(producer.send(record(value)).await.unwrap());
        if value == 50 {
            cluster.take_down(1);
            let later = cluster.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                later.lead(2, 2);
            });
        }
    }
    futures::future::try_join_all(deliveries).await.unwrap();
    assert_eq!(cluster.state().partitions[0].values(), (0..100).map(|value| value.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn send_waits_while_the_buffer_is_full() {
    let cluster = FakeCluster::start(1, 1).await;
    cluster.stall(true);
    let client = cluster.client().await;
    let producer = client.producer(&orders()).linger(Duration::ZERO).buffer_bytes(2 << 20).build().await.unwrap();
    let large = || ProducerRecord::from(Record::new(vec![7u8; 900 << 10], 0));
    let first = producer.send(large()).await.unwrap();
    let second = producer.send(large()).await.unwrap();
    let third = producer.send(large());
    tokio::pin!(third);
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut third).await.is_err(), "the buffer has no room");
    cluster.stall(false);
    let third = third.await.unwrap();
    for (delivery, offset) in [(first, 0), (second, 1), (third, 2)] {
        assert_eq!(delivery.await.unwrap().offset, offset);
    }
}

#[tokio::test]
async fn waiting_for_room_ends_with_the_delivery_timeout() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    let builder = client.producer(&orders()).buffer_bytes(2 << 20).linger(Duration::from_secs(60)).batch_bytes(8 << 20);
    let producer = builder.delivery_timeout(Duration::from_millis(400)).build().await.unwrap();
    // Two records fill the buffer until they expire, unsent, after 400 ms.
    let large = || producer.send(Record::new(vec![7u8; 1000 << 10], 0).into());
    let _held = [large().await.unwrap(), large().await.unwrap()];
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    // The next two get their room and hold it for as long; the last two wait in vain.
    let sent = futures::future::join_all([large(), large(), large(), large()]).await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    let is_full = |sent: &Result<_, ProduceError>| matches!(sent, Err(ProduceError::BufferFull { .. }));
    assert_eq!(sent.iter().map(is_full).collect::<Vec<_>>(), [false, false, true, true]);
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_before_anything_is_sent() {
    let cluster = FakeCluster::start(1, 1).await;
    let producer = producer(&cluster).await;
    let error = producer.send(Record::new(vec![0u8; (1 << 20) + 1], 0).into()).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, ProduceError::RecordTooLarge { size_max: 1_048_576, .. }), "{error}");
    assert_eq!(cluster.state().produce_count, 0);
}

#[tokio::test]
async fn the_delivery_timeout_is_kept_and_the_partition_works_again_afterwards() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    let timeout = Duration::from_millis(500);
    let builder = client.producer(&orders()).linger(Duration::ZERO).batch_bytes(1).delivery_timeout(timeout);
    let producer = builder.build().await.unwrap();
    send_and_wait(&producer, "before").await.unwrap();
    cluster.stall(true);
    let begun = Instant::now();
    let mut deliveries = Vec::new();
    for value in 0..8 {
        deliveries.push(producer.send(record(value)).await.unwrap());
    }
    let outcomes = futures::future::join_all(deliveries).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "took {:?}", begun.elapsed());
    assert!(matches!(outcomes[0], Err(ProduceError::TimedOut { outcome_unknown: true, .. })), "{:?}", outcomes[0]);
    assert!(outcomes[7].as_ref().is_err_and(ProduceError::has_no_side_effects), "the eighth never left the client");
    cluster.stall(false);
    let metadata = send_and_wait(&producer, "after").await.unwrap();
    assert!(!metadata.duplicate);
    assert_eq!(cluster.state().producer_ids, 2, "the lost sequences need a new producer id");
    let values = cluster.state().partitions[0].values();
    assert_eq!((values.first().unwrap().as_str(), values.last().unwrap().as_str()), ("before", "after"));
}

#[tokio::test]
async fn an_error_nobody_looked_at_surfaces_at_flush_once() {
    let cluster = FakeCluster::start(1, 1).await;
    let producer = producer(&cluster).await;
    cluster.state().refuse_produce.push_back(Some(ErrorCode::CorruptBatch));
    drop(producer.send(record("a")).await.unwrap());
    let error = producer.flush().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::CorruptBatch));
    assert_eq!(producer.flush().await, Ok(()));
    assert_eq!(send_and_wait(&producer, "b").await.unwrap().offset, 0);
}

#[tokio::test]
async fn flush_does_not_wait_for_the_linger_and_close_ends_the_producer() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    let producer = client.producer(&orders()).linger(Duration::from_secs(600)).build().await.unwrap();
    let delivery = producer.send(record("a")).await.unwrap();
    producer.flush().await.unwrap();
    assert_eq!(delivery.await.unwrap().offset, 0);
    drop(producer.send(record("b")).await.unwrap());
    producer.clone().close().await.unwrap();
    assert_eq!(cluster.state().partitions[0].values(), ["a", "b"]);
    assert_eq!(producer.send(record("c")).await.map(|_| ()).unwrap_err(), ProduceError::Closed);
}

#[tokio::test]
async fn what_is_buffered_is_still_delivered_after_the_producer_was_dropped() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    let producer = client.producer(&orders()).linger(Duration::from_secs(600)).build().await.unwrap();
    let delivery = producer.send(record("a")).await.unwrap();
    drop(producer);
    assert_eq!(delivery.await.unwrap().offset, 0);
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn dropping_a_producer_tells_how_many_records_nobody_waits_for() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let text = || String::from_utf8(log.0.lock().unwrap().clone()).unwrap();

    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    let producer = client.producer(&orders()).build().await.unwrap();
    drop(producer.send(record("delivered")).await.unwrap());
    producer.flush().await.unwrap();
    drop(producer);
    assert!(!text().contains("undelivered"), "{}", text());

    let producer = client.producer(&orders()).linger(Duration::from_secs(600)).build().await.unwrap();
    for value in ["a", "b", "c"] {
        drop(producer.send(record(value)).await.unwrap());
    }
    drop(producer);
    assert!(text().contains("undelivered records") && text().contains("records=3"), "{}", text());
    assert!(text().contains("topic=orders"), "{}", text());
}

#[tokio::test]
async fn a_recreated_topic_is_another_topic() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    let producer = client.producer(&orders()).linger(Duration::ZERO).build().await.unwrap();
    send_and_wait(&producer, "a").await.unwrap();
    client.delete_topic(&orders()).await.unwrap();
    cluster.create(TopicConfig::default());
    let error = send_and_wait(&producer, "b").await.unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (Some(ErrorCode::TopicDeleted), false));
    assert!(cluster.state().partitions[0].values().is_empty());
}

#[tokio::test]
async fn settings_beyond_their_bounds_are_refused() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    let builder = || client.producer(&orders());
    for builder in [builder().in_flight(0), builder().in_flight(6), builder().batch_bytes(0), builder().buffer_bytes(1)]
    {
        assert!(matches!(builder.build().await, Err(quorate::Error::InvalidArgument(_))));
    }
    let missing = builder().partition(Some(1)).build().await.map(|_| ()).unwrap_err();
    assert_eq!(missing.code(), Some(ErrorCode::UnknownPartition));
}
