//! Readers of linearizable end offsets.

use std::time::Duration;

use quorate::{Client, OffsetQuery};
use quorate_faulty_vfs::SplitMix64;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{Process, TIMEOUT};
use crate::{
    chaos::cluster::{connect, partitions, topic_name},
    history::{Call, Outcome, PartitionKey},
};

const PACE: Duration = Duration::from_millis(15);

pub(super) async fn start(process: Process) -> Result<JoinHandle<()>, String> {
    let client = connect(&process.servers, TIMEOUT).await?;
    Ok(tokio::spawn(read(process, client)))
}

async fn read(mut process: Process, client: Client) {
    let mut random = SplitMix64::stream(process.seed, u64::from(process.number) + 1);
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let partitions: Vec<PartitionKey> = partitions().collect();
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            _ = process.stopped.changed() => return,
        }
        let partition = partitions[random.below(partitions.len() as u64) as usize];
        let invoked_ns = process.recorder.now_ns();
        let outcome = match topic_name(partition.topic) {
            Ok(topic) => match client.offset(&topic, partition.index, OffsetQuery::Last).await {
                Ok(offset) => Outcome::Ok(offset),
                Err(error) => Outcome::Fail(error.to_string()),
            },
            Err(why) => Outcome::Fail(why),
        };
        process.recorder.record(process.number, partition, invoked_ns, Call::EndOffset { outcome });
    }
}
