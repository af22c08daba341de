//! `quorate cluster rebalance`

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::args;
use crate::context::Context;
use crate::error::Failure;
use crate::output::{View, count};
use crate::progress::{follow, unfinished};

#[derive(Debug, Args)]
#[command(after_help = "\
Moves replicas, as few as possible, until all nodes carry the same number and the replicas of each partition are in as many \
racks as can be. Producers and consumers go on; moves take what `raft.catch_up_bytes_per_second` allows. While a node does \
not answer, nothing is moved for that. If the command is interrupted, what has begun goes on: `quorate cluster tasks` shows \
it.

Examples:
  quorate cluster rebalance
  quorate cluster rebalance --wait 0s
  quorate cluster rebalance --cancel")]
pub(crate) struct RebalanceArgs {
    /// How long to wait until all moves are done; 0s not to wait
    #[arg(long, value_name = "DURATION", value_parser = args::duration, default_value = "1h")]
    wait: Duration,
    /// Move nothing for that any more, and take back the moves under way whose new replica does not vote yet
    #[arg(long, conflicts_with = "wait")]
    cancel: bool,
}

#[derive(Serialize)]
struct RebalanceView {
    /// Replicas that were moved while the command waited.
    moved: usize,
    /// Moves under way at the end.
    left: usize,
    done: bool,
}

#[derive(Serialize)]
struct CancelView {
    cancelled: u32,
}

pub(crate) async fn run(context: &Context, args: RebalanceArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    if args.cancel {
        let cancelled = context.within("cancelling the moves", client.cancel_moves()).await?;
        return context.show(&CancelView { cancelled });
    }
    context.within("asking for a rebalance", client.rebalance()).await?;
    let followed = follow(context, &client, args.wait, |tasks, _| !tasks.evening && tasks.moves.is_empty()).await?;
    if !followed.done && !args.wait.is_zero() {
        return Err(unfinished("rebalancing", args.wait, followed));
    }
    context.show(&RebalanceView { moved: followed.moved, left: followed.left, done: followed.done })
}

impl View for RebalanceView {
    fn text(&self) -> String {
        let left = count(self.left as u64, "replica");
        match (self.done, self.moved) {
            (false, _) => format!("the cluster is being rebalanced, {left} on the way"),
            (true, 0) => "nothing is to be moved".to_owned(),
            (true, moved) => format!("moved {}", count(moved as u64, "replica")),
        }
    }
}

impl View for CancelView {
    fn text(&self) -> String {
        format!("{} moves are taken back", self.cancelled)
    }
}
