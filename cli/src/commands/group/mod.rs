//! `quorate group …`

mod delete;
mod describe;
mod list;
mod reset;

use clap::{Args, Subcommand};
use quorate::Name;

use crate::context::Context;
use crate::error::Failure;

/// The consumer group a command is about.
#[derive(Clone, Debug, Args)]
pub(crate) struct GroupArg {
    /// The consumer group
    #[arg(value_name = "GROUP")]
    group: Name,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// List the consumer groups
    List(list::ListArgs),
    /// Show a group's members and how far behind it is
    Describe(describe::DescribeArgs),
    /// Have a group go on from somewhere else
    Reset(reset::ResetArgs),
    /// Forget a group and what it has committed
    Delete(delete::DeleteArgs),
}

pub(crate) async fn run(context: &Context, command: GroupCommand) -> Result<(), Failure> {
    match command {
        GroupCommand::List(_) => list::run(context).await,
        GroupCommand::Describe(args) => describe::run(context, args).await,
        GroupCommand::Reset(args) => reset::run(context, args).await,
        GroupCommand::Delete(args) => delete::run(context, args).await,
    }
}
