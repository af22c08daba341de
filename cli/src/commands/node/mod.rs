//! `quorate node …`

mod list;

use clap::Subcommand;

use crate::context::Context;
use crate::error::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the registered nodes
    List(list::ListArgs),
}

pub(crate) async fn run(context: &Context, command: NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::List(_) => list::run(context).await,
    }
}
