//! After all faults and sends: every partition is read whole by clients that have seen nothing yet, from its leader and then
//! from each of its replicas.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use quorate::{Client, Error, NodeId, PartitionIndex, Position, TopicInfo};

use super::{
    cluster::{connect, topic_name},
    defects::Defects,
    options::TOPICS,
    workload::{DRAIN, consumers},
};
use crate::history::{Call, Digest, Outcome, PartitionKey, Read, Recorder};

/// Records come at least this often, until all have.
const STALLED_MAX: Duration = Duration::from_secs(30);
/// For all of it, after the longest run.
const DRAIN_MAX: Duration = Duration::from_secs(900);
const POLL_WAIT: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(15);

/// By partition.
type Reads<T> = BTreeMap<PartitionIndex, T>;

/// Reads everything below the linearizable end offsets of now, of each topic from the leaders and from each node that has
/// replicas of it.
///
/// # Errors
/// If that takes too long. What is read until then is not in the history: it is no drain.
pub(super) async fn drain(servers: &str, recorder: &Recorder, defects: &Defects) -> Result<(), String> {
    let deadline = Instant::now() + DRAIN_MAX;
    let mut unfinished = Vec::new();
    for topic in 0..TOPICS.len() as u32 {
        let client = connect(servers, TIMEOUT).await?;
        let info = client.topic(&topic_name(topic)?).await.map_err(|error| error.to_string())?;
        let nodes: BTreeSet<NodeId> =
            info.partitions.iter().flat_map(|partition| &partition.replicas).map(|replica| replica.node).collect();
        for from in std::iter::once(None).chain(nodes.into_iter().map(Some)) {
            let (invoked_ns, partitions) = (recorder.now_ns(), has(&info, from));
            let (mut reads, mut digests) = (Reads::<Vec<Read>>::new(), Reads::<Digest>::new());
            let each = |index: PartitionIndex, read: Read| match from {
                None => reads.entry(index).or_default().push(read),
                Some(_) => {
                    let digest = digests.entry(index).or_insert(Digest::EMPTY);
                    *digest = digest.with(&read);
                }
            };
            let read = drain_topic(&client, &info, from, deadline, defects, each).await;
            for index in partitions {
                let call = match from {
                    None => Call::Drain { outcome: ended(&read, reads.remove(&index).unwrap_or_default()) },
                    Some(node) => {
                        let found = digests.remove(&index).unwrap_or(Digest::EMPTY);
                        Call::DrainOfNode { node: node.0, outcome: ended(&read, found) }
                    }
                };
                recorder.record(DRAIN, PartitionKey { topic, index }, invoked_ns, call);
            }
            unfinished.extend(read.err());
        }
    }
    if unfinished.is_empty() { Ok(()) } else { Err(unfinished.join("; ")) }
}

fn ended<T>(read: &Result<(), String>, found: T) -> Outcome<T> {
    match read {
        Ok(()) => Outcome::Ok(found),
        Err(why) => Outcome::Info(why.clone()),
    }
}

/// The partitions of which a node has a replica, or all.
fn has(info: &TopicInfo, node: Option<NodeId>) -> Vec<PartitionIndex> {
    let here = info
        .partitions
        .iter()
        .filter(|partition| node.is_none_or(|node| partition.replicas.iter().any(|replica| replica.node == node)));
    here.map(|partition| partition.index).collect()
}

async fn drain_topic(
    client: &Client,
    info: &TopicInfo,
    from: Option<NodeId>,
    deadline: Instant,
    defects: &Defects,
    mut each: impl FnMut(PartitionIndex, Read),
) -> Result<(), String> {
    let (name, whom) = (&info.name, from.map_or_else(|| "the leaders".to_owned(), |node| format!("node {node}")));
    let builder = client.consumer(name).from(Position::First).partitions(has(info, from));
    let builder = match from {
        Some(node) => builder.only_from_node(node),
        None => builder,
    };
    let mut consumer = builder.build().await.map_err(|error| error.to_string())?;
    let ends = consumer.end_offsets().await.map_err(|error| error.to_string())?;
    let mut progressed = Instant::now();
    while ends.iter().any(|(partition, end)| consumer.position(*partition).is_none_or(|position| position < *end)) {
        if Instant::now() >= deadline.min(progressed + STALLED_MAX) {
            return Err(format!("{name} was not read from {whom} up to {ends:?} in time"));
        }
        let polled = match consumer.poll(POLL_WAIT).await {
            Ok(polled) => polled,
            Err(error @ (Error::Corrupt { .. } | Error::OffsetsNotDense { .. })) => {
                defects.add(format!("the drain of {whom}: {error}"));
                return Err(error.to_string());
            }
            Err(error) if error.is_retryable() => continue,
            Err(error) => return Err(error.to_string()),
        };
        for record in &polled {
            progressed = Instant::now();
            each(record.partition, consumers::read(record));
        }
    }
    Ok(())
}
