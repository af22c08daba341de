//! `quorate cluster rebalance`

use std::time::{Duration, Instant};

use bytesize::ByteSize;
use clap::Args;
use quorate::{Client, MoveInfo};
use serde::Serialize;

use crate::args;
use crate::context::Context;
use crate::error::{Failure, note};
use crate::output::View;

/// Between two looks at the moves.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(after_help = "\
Moves replicas, as few as possible, until all nodes carry the same number and the replicas of each partition are in as many \
racks as can be. Producers and consumers go on; moves take what `raft.catch_up_bytes_per_second` allows. If the command is \
interrupted, what has begun goes on: `quorate cluster tasks` shows it.

Examples:
  quorate cluster rebalance
  quorate cluster rebalance --wait 0s
  quorate cluster rebalance --cancel")]
pub(crate) struct RebalanceArgs {
    /// How long to wait until all moves are done; 0s not to wait
    #[arg(long, value_name = "DURATION", value_parser = args::duration, default_value = "1h")]
    wait: Duration,
    /// Take back the moves under way whose new replica does not vote yet
    #[arg(long, conflicts_with = "wait")]
    cancel: bool,
}

#[derive(Serialize)]
struct RebalanceView {
    begun: u32,
    /// Moves under way at the end.
    left: usize,
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
    let until = Instant::now() + args.wait;
    let mut begun = 0;
    // What has to change twice is planned again once its first move is over.
    loop {
        let more = context.renewed().within("planning moves", client.rebalance()).await?;
        begun += more;
        let left = under_way(context, &client).await?.len();
        if args.wait.is_zero() || more == 0 && left == 0 {
            return context.show(&RebalanceView { begun, left });
        }
        let left = wait_until_done(context, &client, until).await?;
        if left > 0 {
            return Err(Failure::message(format!(
                "{left} moves are under way after {}; they go on, look at `quorate cluster tasks`",
                humantime::format_duration(args.wait)
            )));
        }
    }
}

async fn under_way(context: &Context, client: &Client) -> Result<Vec<MoveInfo>, Failure> {
    context.renewed().within("asking for the moves", client.moves()).await
}

async fn wait_until_done(context: &Context, client: &Client, until: Instant) -> Result<usize, Failure> {
    let mut last = None;
    loop {
        let moves = under_way(context, client).await?;
        if moves.is_empty() || Instant::now() + LOOK_INTERVAL >= until {
            return Ok(moves.len());
        }
        if last.replace(moves.len()) != Some(moves.len()) {
            let sum = |bytes: fn(&MoveInfo) -> u64| ByteSize(moves.iter().map(bytes).sum());
            let (done, total) = (sum(|info| info.bytes_done), sum(|info| info.bytes_total));
            note(&format!("{} replicas are on their way, {done} of {total}", moves.len()));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

impl View for RebalanceView {
    fn text(&self) -> String {
        match (self.begun, self.left) {
            (0, 0) => "nothing is to be moved".to_owned(),
            (begun, 0) => format!("moved {begun} replicas"),
            (begun, left) => format!("{begun} moves have begun, {left} are under way"),
        }
    }
}

impl View for CancelView {
    fn text(&self) -> String {
        format!("{} moves are taken back", self.cancelled)
    }
}
