//! Faults that are none: users delete records. Whoever lacks what was deleted needs a snapshot.

use std::time::Duration;

use futures::future::join_all;
use quorate::{Client, OffsetQuery};

use super::Injector;
use crate::{
    chaos::{
        cluster::{partitions, topic_name},
        workload::FAULTS,
    },
    history::{Call, Outcome, PartitionKey, Recorder},
};

/// The only topic of which records are deleted: of the others, all is read back in the end.
const TOPIC: u32 = 2;
/// How much of what there is may be deleted, in percent.
const PERCENT: [u64; 3] = [50, 90, 100];
/// So long the others go on before what a node lacks is deleted.
const AHEAD: Duration = Duration::from_millis(300);

impl Injector<'_> {
    /// Deletes records of a partition.
    pub(super) async fn trim(&self, choice: u64) -> Result<(), String> {
        let all: Vec<PartitionKey> = deleted_from().collect();
        let percent = PERCENT[(choice >> 8) as usize % PERCENT.len()];
        trim(&self.admin, self.recorder, all[choice as usize % all.len()], percent).await
    }

    /// Deletes all records of those partitions of which a node has a replica, at the same time.
    pub(super) async fn trim_all(&self, node: u64) -> Result<(), String> {
        tokio::time::sleep(AHEAD).await;
        let mut concerned = Vec::new();
        for partition in deleted_from() {
            let topic = topic_name(partition.topic)?;
            let info = self.admin.topic(&topic).await.map_err(|error| error.to_string())?;
            let of_node = info.partitions.iter().find(|of| of.index == partition.index);
            if of_node.is_some_and(|of| of.replicas.iter().any(|replica| replica.node.0 == node)) {
                concerned.push(partition);
            }
        }
        if concerned.is_empty() {
            return Err(format!("node {node} has no replica of what may be deleted"));
        }
        let trims = concerned.into_iter().map(|partition| trim(&self.admin, self.recorder, partition, 100));
        let failures: Vec<String> = join_all(trims).await.into_iter().filter_map(Result::err).collect();
        if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
    }
}

fn deleted_from() -> impl Iterator<Item = PartitionKey> {
    partitions().filter(|partition| partition.topic == TOPIC)
}

/// Whatever came of it is in the history.
async fn trim(admin: &Client, recorder: &Recorder, partition: PartitionKey, percent: u64) -> Result<(), String> {
    let topic = topic_name(partition.topic)?;
    let offset = async |query| admin.offset(&topic, partition.index, query).await.map_err(|error| error.to_string());
    let (start, end) = (offset(OffsetQuery::First).await?, offset(OffsetQuery::Last).await?);
    let before = start + end.saturating_sub(start) * percent / 100;
    let invoked_ns = recorder.now_ns();
    let (outcome, failure) = match admin.trim(&topic, partition.index, before).await {
        Ok(log_start) => (Outcome::Ok(log_start), None),
        Err(error) if error.has_no_side_effects() => (Outcome::Fail(error.to_string()), Some(error.to_string())),
        Err(error) => (Outcome::Info(error.to_string()), Some(error.to_string())),
    };
    recorder.record(FAULTS, partition, invoked_ns, Call::Trim { before, outcome });
    failure.map_or(Ok(()), Err)
}
