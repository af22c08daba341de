//! Reading a topic back.

use std::time::{Duration, Instant};

use quorate::{Client, Position, TopicName};

use super::Consumed;

const READ_MAX: Duration = Duration::from_secs(30);
const POLL_WAIT: Duration = Duration::from_millis(200);

/// All records below the end offsets of now, in the order in which they come.
///
/// # Panics
/// If that fails or takes too long.
pub async fn consume_all(client: &Client, topic: &TopicName) -> Vec<Consumed> {
    let consumer = client.consumer(topic).from(Position::First).build().await;
    let mut consumer = consumer.unwrap_or_else(|error| panic!("{error}"));
    let ends = consumer.end_offsets().await.unwrap_or_else(|error| panic!("{error}"));
    let deadline = Instant::now() + READ_MAX;
    let mut records = Vec::new();
    while ends.iter().any(|(partition, end)| consumer.position(*partition).is_none_or(|position| position < *end)) {
        assert!(Instant::now() < deadline, "{topic} was not read within {READ_MAX:?}: {consumer:?}");
        let polled = consumer.poll(POLL_WAIT).await.unwrap_or_else(|error| panic!("{error}"));
        records.extend(polled.into_iter().map(|consumed| Consumed {
            partition: consumed.partition,
            offset: consumed.offset,
            value: consumed.record.value.unwrap_or_default(),
        }));
    }
    records
}
