//! After all faults and sends: every partition is read whole by a client that has seen nothing yet.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use quorate::{Error, Position};

use super::{
    cluster::{connect, partitions, topic_name},
    defects::Defects,
    options::TOPICS,
    workload::{DRAIN, consumers},
};
use crate::history::{Call, Outcome, PartitionKey, Read, Recorder};

const DRAIN_MAX: Duration = Duration::from_secs(60);
const POLL_WAIT: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(15);

/// Reads everything below the linearizable end offsets of now.
///
/// # Errors
/// If that takes too long. What is read until then is not in the history: it is no drain.
pub(super) async fn drain(servers: &str, recorder: &Recorder, defects: &Defects) -> Result<(), String> {
    let deadline = Instant::now() + DRAIN_MAX;
    let mut unfinished = Vec::new();
    for topic in 0..TOPICS.len() as u32 {
        let invoked_ns = recorder.now_ns();
        let read = drain_topic(servers, topic, deadline, defects).await;
        for partition in partitions().filter(|partition| partition.topic == topic) {
            let outcome = match &read {
                Ok(read) => Outcome::Ok(read.get(&partition).cloned().unwrap_or_default()),
                Err(why) => Outcome::Info(why.clone()),
            };
            recorder.record(DRAIN, partition, invoked_ns, Call::Drain { outcome });
        }
        unfinished.extend(read.err());
    }
    if unfinished.is_empty() { Ok(()) } else { Err(unfinished.join("; ")) }
}

async fn drain_topic(
    servers: &str,
    topic: u32,
    deadline: Instant,
    defects: &Defects,
) -> Result<BTreeMap<PartitionKey, Vec<Read>>, String> {
    let name = topic_name(topic)?;
    let client = connect(servers, TIMEOUT).await?;
    let consumer = client.consumer(&name).from(Position::First).build().await;
    let mut consumer = consumer.map_err(|error| error.to_string())?;
    let ends = consumer.end_offsets().await.map_err(|error| error.to_string())?;
    let mut read: BTreeMap<PartitionKey, Vec<Read>> = BTreeMap::new();
    while ends.iter().any(|(partition, end)| consumer.position(*partition).is_none_or(|position| position < *end)) {
        if Instant::now() >= deadline {
            return Err(format!("{name} was not read up to {ends:?} within {DRAIN_MAX:?}"));
        }
        let polled = match consumer.poll(POLL_WAIT).await {
            Ok(polled) => polled,
            Err(error @ (Error::Corrupt { .. } | Error::OffsetsNotDense { .. })) => {
                defects.add(format!("the drain: {error}"));
                return Err(error.to_string());
            }
            Err(error) if error.is_retryable() => continue,
            Err(error) => return Err(error.to_string()),
        };
        for record in &polled {
            read.entry(PartitionKey { topic, index: record.partition }).or_default().push(consumers::read(record));
        }
    }
    Ok(read)
}
