//! `quorate topic create`

use bytesize::ByteSize;
use clap::Args;
use quorate::TopicInfo;
use quorate_cluster_config::{TopicConfig, limits};
use serde::Serialize;

use crate::args::{self, TopicArg};
use crate::context::Context;
use crate::error::{Failure, warn};
use crate::output::{View, count};

#[derive(Debug, Args)]
#[command(after_help = "\
Returns once every partition has a leader.

Example:
  quorate topic create orders --partitions 4 --replication-factor 3 --segment-size 256MiB")]
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
}

#[derive(Serialize)]
struct CreatedView {
    name: String,
    id: u64,
    partitions: u32,
    replication_factor: u32,
    segment_bytes: u64,
    leaderless_partitions: usize,
}

pub(crate) async fn run(context: &Context, args: CreateArgs) -> Result<(), Failure> {
    let config = TopicConfig {
        partitions: args.partitions,
        replication_factor: args.replication_factor,
        segment_bytes: args.segment_size.as_u64(),
    };
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

impl CreatedView {
    fn new(info: &TopicInfo, leaderless_partitions: usize) -> Self {
        Self {
            name: info.name.to_string(),
            id: info.id.0,
            partitions: info.config.partitions,
            replication_factor: info.config.replication_factor,
            segment_bytes: info.config.segment_bytes,
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
