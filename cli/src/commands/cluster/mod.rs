//! `quorate cluster …`

mod health;
mod info;
mod rebalance;
mod tasks;

use clap::Subcommand;

use crate::context::Context;
use crate::error::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show the cluster's identity, leader and sizes
    Info(info::InfoArgs),
    /// Say whether all is well; exit code 1 if not
    Health(health::HealthArgs),
    /// Move replicas until all nodes carry alike
    Rebalance(rebalance::RebalanceArgs),
    /// Show what the cluster is changing by itself
    Tasks(tasks::TasksArgs),
}

pub(crate) async fn run(context: &Context, command: ClusterCommand) -> Result<(), Failure> {
    match command {
        ClusterCommand::Info(_) => info::run(context).await,
        ClusterCommand::Health(args) => health::run(context, args).await,
        ClusterCommand::Rebalance(args) => rebalance::run(context, args).await,
        ClusterCommand::Tasks(args) => tasks::run(context, args).await,
    }
}
