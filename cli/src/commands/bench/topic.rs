//! The topic a benchmark runs on: an existing one, or a fresh one that is deleted at the end.

use clap::Args;
use quorate::{Client, TopicInfo};
use quorate_cluster_config::{TopicConfig, TopicName};

use crate::context::Context;
use crate::error::{Failure, note, warn};
use crate::interrupt::interrupted;
use crate::output::count;

/// The shape of a fresh topic.
#[derive(Clone, Debug, Args)]
#[group(id = "fresh")]
pub(super) struct FreshTopic {
    /// Partitions of the fresh topic
    #[arg(long, value_name = "N", default_value_t = 4)]
    partitions: u32,
    /// Replicas of each of them
    #[arg(long, value_name = "N", default_value_t = 3)]
    replication_factor: u32,
    /// Do not delete the fresh topic at the end
    #[arg(long)]
    keep: bool,
}

/// Runs a benchmark on the topic named, or on a fresh one. A fresh one is deleted however the benchmark ends, Ctrl-C
/// included, unless it is to be kept.
pub(super) async fn with_topic<T>(
    context: &Context,
    client: &Client,
    existing: Option<&TopicName>,
    fresh: &FreshTopic,
    bench: impl AsyncFnOnce(&TopicInfo) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let info = match existing {
        Some(name) => context.within("asking for the topic", client.topic(name)).await?,
        None => create(context, client, fresh).await?,
    };
    let result = tokio::select! {
        result = bench(&info) => result,
        interrupted = interrupted() => interrupted.and(Err(Failure::message("interrupted"))),
    };
    if existing.is_none() {
        if fresh.keep {
            note(&format!("kept topic {}", info.name));
        } else if let Err(failure) =
            context.renewed().within("deleting the topic", client.delete_topic(&info.name)).await
        {
            warn(&format!("topic {} is left behind, {failure}", info.name));
        }
    }
    result
}

async fn create(context: &Context, client: &Client, fresh: &FreshTopic) -> Result<TopicInfo, Failure> {
    let name = format!("bench-{:08x}", rand::random::<u32>());
    let name = TopicName::parse(&name).map_err(|error| Failure::message(error.to_string()))?;
    let config = TopicConfig {
        partitions: fresh.partitions,
        replication_factor: fresh.replication_factor,
        ..TopicConfig::default()
    };
    config.validate().map_err(|error| Failure::Usage(error.to_string()))?;
    let info = context.within("creating the topic", client.create_topic(&name, config)).await?;
    let leaderless = info.partitions.iter().filter(|partition| partition.leader.is_none()).count();
    if leaderless > 0 {
        warn(&format!("{} of topic {name} without a leader", count(leaderless as u64, "partition")));
    }
    Ok(info)
}
