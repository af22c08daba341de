//! `quorate node remove`

use std::time::Duration;

use clap::Args;
use quorate::{Departure, NodeId};
use serde::Serialize;

use crate::args;
use crate::context::Context;
use crate::error::Failure;
use crate::output::{View, count};
use crate::progress::{follow, unfinished};

#[derive(Debug, Args)]
#[command(after_help = "\
The node hands over what it leads, its replicas move to the other nodes, it leaves the metadata group, and then it is \
forgotten and stops by itself: its data directory is of no use any more. Producers and consumers go on. The command waits \
until then; if it is interrupted, all of that goes on, and --cancel ends it.

With --dead, for a node that is gone for good, what it had is rebuilt from the other replicas. Should it come back, nobody \
talks to it.

It is refused if the other nodes could not hold the replication factors of all topics.

Examples:
  quorate node remove 2
  quorate node remove 3 --dead
  quorate node remove 2 --cancel")]
pub(crate) struct RemoveArgs {
    /// The node, see `quorate node list`
    #[arg(value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..))]
    node: u64,
    /// The node is gone for good
    #[arg(long)]
    dead: bool,
    /// Keep the node after all: what has not left it yet stays
    #[arg(long, conflicts_with_all = ["dead", "wait"])]
    cancel: bool,
    /// How long to wait until it is removed; 0s not to wait
    #[arg(long, value_name = "DURATION", value_parser = args::duration, default_value = "1h")]
    wait: Duration,
}

#[derive(Serialize)]
struct RemovedView {
    node: u64,
    /// Whether it is no part of the cluster any more.
    removed: bool,
    /// Replicas on their way at the end.
    left: usize,
}

#[derive(Serialize)]
struct KeptView {
    node: u64,
    kept: bool,
}

pub(crate) async fn run(context: &Context, args: RemoveArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let node = NodeId(args.node);
    let departure = match (args.cancel, args.dead) {
        (true, _) => None,
        (false, true) => Some(Departure::Dead),
        (false, false) => Some(Departure::Serving),
    };
    context.within("removing the node", client.remove_node(node, departure)).await?;
    if args.cancel {
        return context.show(&KeptView { node: args.node, kept: true });
    }
    let gone = follow(context, &client, args.wait, |_, info| info.nodes.iter().all(|info| info.id != node)).await?;
    if !gone.done && !args.wait.is_zero() {
        return Err(unfinished(&format!("the removal of node {node}"), args.wait, gone));
    }
    context.show(&RemovedView { node: args.node, removed: gone.done, left: gone.left })
}

impl View for RemovedView {
    fn text(&self) -> String {
        match self.removed {
            true => format!("node {} is no part of the cluster any more, and its data can be deleted", self.node),
            false => format!("node {} leaves, {} on the way", self.node, count(self.left as u64, "replica")),
        }
    }
}

impl View for KeptView {
    fn text(&self) -> String {
        format!("node {} stays", self.node)
    }
}
