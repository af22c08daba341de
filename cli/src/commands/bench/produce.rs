//! `quorate bench produce`

use std::time::Duration;

use clap::Args;
use quorate_cluster_config::TopicName;

use super::load::{self, Load, Until};
use super::report::{Report, Workload};
use super::topic::{FreshTopic, with_topic};
use crate::context::Context;
use crate::error::Failure;

#[derive(Debug, Args)]
#[command(after_help = "\
Sends as fast as acknowledgements allow. The time runs from the first send to the last acknowledgement, a \
latency from the call that sends a record to its acknowledgement, the wait for room in the buffer included. \
Every acknowledged record is on stable storage of a majority of its replicas.

Examples:
  quorate bench produce
  quorate bench produce --partitions 1 --seconds 10
  quorate bench produce --partitions 8 --messages 1000000 --size 100 --output json")]
pub(crate) struct ProduceArgs {
    /// Append to this existing topic [default: a fresh one, deleted at the end]
    #[arg(long, value_name = "NAME", conflicts_with = "fresh")]
    topic: Option<TopicName>,
    #[command(flatten)]
    fresh: FreshTopic,
    /// How many messages to send in all
    #[arg(long, value_name = "N", default_value_t = 400_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// Send for that many seconds, however many messages it comes to
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    #[arg(conflicts_with = "messages")]
    seconds: Option<u64>,
    #[command(flatten)]
    load: Load,
}

pub(crate) async fn run(context: &Context, args: ProduceArgs) -> Result<(), Failure> {
    let until = match args.seconds {
        Some(seconds) => Until::Time(Duration::from_secs(seconds)),
        None => Until::Messages(args.messages),
    };
    let client = context.connect().await?;
    let report = with_topic(context, &client, args.topic.as_ref(), &args.fresh, async |info| {
        let produced = load::produce(context, &client, info, until, &args.load).await?;
        let workload = Workload {
            name: "produce",
            messages: produced.messages,
            bytes: produced.bytes,
            partitions: info.config.partitions,
            replicas: info.config.replication_factor,
        };
        Ok(Report::new(workload, produced.took, Some(&produced.latencies)))
    });
    context.show(&report.await?)
}
