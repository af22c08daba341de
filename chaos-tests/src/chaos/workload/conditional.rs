//! Writers that decide by what they have read: each record is to get the offset at which the partition then ends, or none.

use std::time::Duration;

use quorate::{Client, OffsetQuery, Producer, Record};
use quorate_faulty_vfs::SplitMix64;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{
    Process, TIMEOUT,
    producers::{self, TIMESTAMP_MS},
};
use crate::{
    chaos::cluster::{connect, partitions, topic_name},
    history::{Call, Outcome, PartitionKey, Value},
};

const PACE: Duration = Duration::from_millis(25);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn start(process: Process) -> Result<JoinHandle<()>, String> {
    let client = connect(&process.servers, TIMEOUT).await?;
    let producers = producers::build(&process, DELIVERY_TIMEOUT).await?;
    Ok(tokio::spawn(append(process, client, producers)))
}

async fn append(mut process: Process, client: Client, producers: Vec<Producer>) {
    let mut random = SplitMix64::stream(process.seed, u64::from(process.number) + 1);
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let partitions: Vec<PartitionKey> = partitions().collect();
    for number in 0.. {
        tokio::select! {
            _ = pace.tick() => {}
            _ = process.stopped.changed() => return,
        }
        let partition = partitions[random.below(partitions.len() as u64) as usize];
        let Ok(topic) = topic_name(partition.topic) else { return };
        let invoked_ns = process.recorder.now_ns();
        let expected = match client.offset(&topic, partition.index, OffsetQuery::Last).await {
            Ok(expected) => expected,
            Err(error) => {
                tracing::debug!(%error, "a writer cannot see where a partition ends");
                continue;
            }
        };
        let looked = Call::EndOffset { outcome: Outcome::Ok(expected) };
        process.recorder.record(process.number, partition, invoked_ns, looked);
        let value = Value { process: process.number, number };
        let record = [Record::new(value.encode(), TIMESTAMP_MS)];
        let invoked_ns = process.recorder.now_ns();
        let producer = &producers[partition.topic as usize];
        let outcome = producers::outcome(producer.send_batch_at(partition.index, expected, &record).await);
        process.recorder.record(process.number, partition, invoked_ns, Call::Append { number, expected, outcome });
    }
}
