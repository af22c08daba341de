//! `quorate topic …`

mod alter;
mod create;
mod delete;
mod describe;
mod list;
mod recover;
mod trim;

use clap::Subcommand;

use crate::context::Context;
use crate::error::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Create a topic
    Create(create::CreateArgs),
    /// Change a topic's settings
    Alter(alter::AlterArgs),
    /// List the topics
    List(list::ListArgs),
    /// Show a topic's partitions and replicas
    Describe(describe::DescribeArgs),
    /// Delete the oldest records of a partition
    Trim(trim::TrimArgs),
    /// Have partitions go on whose majority is gone for good: records are lost
    Recover(recover::RecoverArgs),
    /// Delete a topic and all of its records
    Delete(delete::DeleteArgs),
}

pub(crate) async fn run(context: &Context, command: TopicCommand) -> Result<(), Failure> {
    match command {
        TopicCommand::Create(args) => create::run(context, args).await,
        TopicCommand::Alter(args) => alter::run(context, args).await,
        TopicCommand::List(args) => list::run(context, args).await,
        TopicCommand::Describe(args) => describe::run(context, args).await,
        TopicCommand::Trim(args) => trim::run(context, args).await,
        TopicCommand::Recover(args) => recover::run(context, args).await,
        TopicCommand::Delete(args) => delete::run(context, args).await,
    }
}
