//! `quorate local stop`

use clap::Args;
use serde::Serialize;

use super::DirArg;
use crate::context::Context;
use crate::error::Failure;
use crate::local::wait;
use crate::output::{View, count};

#[derive(Debug, Args)]
#[command(after_help = "\
Asks the nodes to end (SIGTERM) and kills those that still run after --timeout. Data and ports are kept: \
`quorate local start` starts the same cluster again.

Example:
  quorate local stop")]
pub(crate) struct StopArgs {
    #[command(flatten)]
    dir: DirArg,
}

#[derive(Serialize)]
struct StoppedView {
    stopped: usize,
}

pub(crate) async fn run(context: &Context, args: StopArgs) -> Result<(), Failure> {
    let dir = args.dir.resolve()?;
    dir.load_existing()?;
    let _lock = dir.lock(context.deadline()).await?;
    let processes = dir.load_existing()?.running();
    wait::stop(&processes, context.timeout()).await?;
    context.show(&StoppedView { stopped: processes.len() })
}

impl View for StoppedView {
    fn text(&self) -> String {
        match self.stopped {
            0 => "no node was running".to_owned(),
            stopped => format!("stopped {}", count(stopped as u64, "node")),
        }
    }
}
