//! `quorate local …`

mod add;
mod kill;
mod logs;
mod restart;
mod start;
mod status;
mod stop;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::Failure;
use crate::local::state::LocalDir;

#[derive(Debug, Subcommand)]
pub(crate) enum LocalCommand {
    /// Start a cluster, or one that was stopped
    Start(start::StartArgs),
    /// Show the nodes and whether they answer
    Status(status::StatusArgs),
    /// Start another node that joins the cluster
    Add(add::AddArgs),
    /// Stop all nodes; their data stays
    Stop(stop::StopArgs),
    /// Kill a node as a crash would (kill -9)
    Kill(kill::KillArgs),
    /// Start a dead node again, or restart a running one
    Restart(restart::RestartArgs),
    /// Print what a node wrote to its log
    Logs(logs::LogsArgs),
}

/// Which local cluster.
#[derive(Debug, Args)]
pub(crate) struct DirArg {
    /// Where the cluster is kept [default: quorate/local in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl DirArg {
    fn resolve(&self) -> Result<LocalDir, Failure> {
        LocalDir::resolve(self.dir.as_deref())
    }
}

pub(crate) async fn run(context: &Context, command: LocalCommand) -> Result<(), Failure> {
    match command {
        LocalCommand::Start(args) => start::run(context, args).await,
        LocalCommand::Status(args) => status::run(context, args).await,
        LocalCommand::Add(args) => add::run(context, args).await,
        LocalCommand::Stop(args) => stop::run(context, args).await,
        LocalCommand::Kill(args) => kill::run(context, args).await,
        LocalCommand::Restart(args) => restart::run(context, args).await,
        LocalCommand::Logs(args) => logs::run(args).await,
    }
}
