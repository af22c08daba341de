//! `quorate local kill`

use clap::Args;
use serde::Serialize;

use super::DirArg;
use crate::context::Context;
use crate::error::Failure;
use crate::local::wait;
use crate::output::View;

#[derive(Debug, Args)]
#[command(after_help = "\
The node gets no chance to save anything. With three nodes, the cluster goes on without it.

Example:
  quorate local kill 2 && quorate cluster health; quorate local restart 2")]
pub(crate) struct KillArgs {
    /// The node's number, from 1
    #[arg(value_name = "N")]
    number: u16,
    #[command(flatten)]
    dir: DirArg,
}

#[derive(Serialize)]
struct KilledView {
    killed: u16,
    pid: u32,
}

pub(crate) async fn run(context: &Context, args: KillArgs) -> Result<(), Failure> {
    let number = args.number;
    let dir = args.dir.resolve()?;
    dir.load_existing()?;
    let _lock = dir.lock(context.deadline()).await?;
    let cluster = dir.load_existing()?;
    let process = cluster.node(number)?.running().cloned().ok_or_else(|| {
        Failure::message(format!("node {number} does not run, start it with `quorate local restart {number}`"))
    })?;
    let pid = process.pid;
    wait::kill(&[process]).await?;
    context.show(&KilledView { killed: number, pid })
}

impl View for KilledView {
    fn text(&self) -> String {
        format!("killed node {} (process {})", self.killed, self.pid)
    }
}
