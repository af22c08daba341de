//! `quorate bench …`: workloads of producers and consumers, and the disk beside them.
//!
//! Not here: series of runs, medians and ratios; `scripts/bench.sh` makes them of these.

mod acks;
mod consume;
mod disk;
mod disk_files;
mod latency;
mod load;
mod payload;
mod produce;
mod report;
mod schedule;
mod topic;

use std::time::Duration;

use clap::Subcommand;

use crate::context::Context;
use crate::error::Failure;

/// A disk under load answers late; a benchmark shows that rather than to fail.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Measure how fast records are acknowledged
    Produce(produce::ProduceArgs),
    /// Measure how fast a topic is read from its first to its last record
    Consume(consume::ConsumeArgs),
    /// Measure how soon records are acknowledged, at a given rate or one at a time
    Latency(latency::LatencyArgs),
    /// Measure what the disk itself allows, without a cluster
    Disk(disk::DiskArgs),
}

pub(crate) async fn run(context: &Context, command: BenchCommand) -> Result<(), Failure> {
    let context = context.with_timeout_default(TIMEOUT_DEFAULT);
    match command {
        BenchCommand::Produce(args) => produce::run(&context, args).await,
        BenchCommand::Consume(args) => consume::run(&context, args).await,
        BenchCommand::Latency(args) => latency::run(&context, args).await,
        BenchCommand::Disk(args) => disk::run(&context, args).await,
    }
}
