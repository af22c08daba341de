//! `quorate topic create`

use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use quorate::TopicInfo;
use quorate_cluster_config::{TopicConfig, limits};
use serde::Serialize;

use crate::args::{self, Limit, TopicArg};
use crate::context::Context;
use crate::error::{Failure, warn};
use crate::output::{View, count, milliseconds};

#[derive(Debug, Args)]
#[command(after_help = "\
Returns once every partition has a leader.

Records are deleted once they are older than --retention-time, counted from when their leader took them, and the \
oldest ones while a partition holds more than --retention-size. Whole segments are deleted, and never the one that is \
written, so a partition may hold more; smaller segments follow the settings more closely.

Examples:
  quorate topic create orders --partitions 4 --replication-factor 3
  quorate topic create audit --retention-time unlimited --retention-size 500GiB
  quorate topic create metrics --retention-time 36h --retention-size unlimited --segment-size 64MiB")]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    topic: TopicArg,
    /// The number of partitions
    #[arg(long, value_name = "N", default_value_t = limits::PARTITIONS_PER_TOPIC_DEFAULT)]
    partitions: u32,
    /// The number of nodes that hold each partition; 3 survive the loss of one, 5 of two
    #[arg(long, value_name = "N", default_value_t = limits::REPLICATION_FACTOR_DEFAULT)]
    replication_factor: u32,
    /// The size at which a new segment file is begun
    #[arg(long, value_name = "SIZE", value_parser = args::size, default_value = "256MiB")]
    segment_size: ByteSize,
    /// How long records are kept
    #[arg(long, value_name = "DURATION|unlimited", value_parser = args::duration_limit, default_value = "7d")]
    retention_time: Limit<Duration>,
    /// How much each partition keeps, on every node that holds it
    #[arg(long, value_name = "SIZE|unlimited", value_parser = args::size_limit, default_value = "10GiB")]
    retention_size: Limit<ByteSize>,
}

#[derive(Serialize)]
struct CreatedView {
    name: String,
    id: u64,
    partitions: u32,
    replication_factor: u32,
    segment_bytes: u64,
    /// None is unlimited.
    retention_time_ms: Option<u64>,
    /// Of a partition; none is unlimited.
    retention_bytes: Option<u64>,
    leaderless_partitions: usize,
}

pub(crate) async fn run(context: &Context, args: CreateArgs) -> Result<(), Failure> {
    let config = args.config();
    config.validate().map_err(|error| Failure::Usage(format!("cannot create topic {}, {error}", args.topic.topic)))?;
    if config.replication_factor == 2 {
        warn(
            "with a replication factor of 2 no failure is tolerated while writes go on: \
             a write needs a majority, and the majority of 2 is 2; use 3",
        );
    }
    let client = context.connect().await?;
    let name = args.topic.topic;
    let info = context.within("creating the topic", client.create_topic(&name, config)).await?;
    let leaderless = info.partitions.iter().filter(|partition| partition.leader.is_none()).count();
    if leaderless > 0 {
        warn(&format!("topic {name} exists, but {} without a leader", count(leaderless as u64, "partition")));
    }
    context.show(&CreatedView::new(&info, leaderless))
}

impl CreateArgs {
    fn config(&self) -> TopicConfig {
        TopicConfig {
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            segment_bytes: self.segment_size.as_u64(),
            retention_time: self.retention_time.0,
            retention_bytes: self.retention_size.0.map(|size| size.as_u64()),
        }
    }
}

impl CreatedView {
    fn new(info: &TopicInfo, leaderless_partitions: usize) -> Self {
        Self {
            name: info.name.to_string(),
            id: info.id.0,
            partitions: info.config.partitions,
            replication_factor: info.config.replication_factor,
            segment_bytes: info.config.segment_bytes,
            retention_time_ms: info.config.retention_time.map(milliseconds),
            retention_bytes: info.config.retention_bytes,
            leaderless_partitions,
        }
    }
}

impl View for CreatedView {
    fn text(&self) -> String {
        let partitions = count(self.partitions.into(), "partition");
        let replicas = count(self.replication_factor.into(), "replica");
        format!("created topic {} with {partitions} of {replicas}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;

    #[test]
    fn what_is_not_given_is_what_a_topic_has_by_default() {
        let command = CreateArgs::augment_args(clap::Command::new("create"));
        let matches = command.try_get_matches_from(["create", "orders"]);
        let config = matches.and_then(|matches| CreateArgs::from_arg_matches(&matches)).map(|args| args.config());
        assert_eq!(config.ok(), Some(TopicConfig::default()));
    }
}
