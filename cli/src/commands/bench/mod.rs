//! `quorate bench …`: the same workloads and figures as `peers/nats-bench`, so that both can be compared.

mod consume;
mod load;
mod payload;
mod produce;
mod report;
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
}

pub(crate) async fn run(context: &Context, command: BenchCommand) -> Result<(), Failure> {
    let context = context.with_timeout_default(TIMEOUT_DEFAULT);
    match command {
        BenchCommand::Produce(args) => produce::run(&context, args).await,
        BenchCommand::Consume(args) => consume::run(&context, args).await,
    }
}
