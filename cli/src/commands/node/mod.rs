//! `quorate node …`

mod add;
mod drain;
mod list;
mod remove;

use clap::Subcommand;

use crate::context::Context;
use crate::error::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the registered nodes
    List(list::ListArgs),
    /// Add a node that waits for it
    Add(add::AddArgs),
    /// Have a node leave the cluster
    Remove(remove::RemoveArgs),
    /// Have a node lead nothing, for maintenance
    Drain(drain::DrainArgs),
    /// Have a drained node lead again
    Undrain(drain::UndrainArgs),
}

pub(crate) async fn run(context: &Context, command: NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::List(_) => list::run(context).await,
        NodeCommand::Add(args) => add::run(context, args).await,
        NodeCommand::Remove(args) => remove::run(context, args).await,
        NodeCommand::Drain(args) => drain::drain(context, args).await,
        NodeCommand::Undrain(args) => drain::undrain(context, args).await,
    }
}
