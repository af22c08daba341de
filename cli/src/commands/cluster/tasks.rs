//! `quorate cluster tasks`

use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use quorate::{Departure, LeavingInfo, MoveInfo, MoveState, Tasks};
use serde::Serialize;

use crate::context::Context;
use crate::error::Failure;
use crate::output::{Columns, View, count};
use crate::progress::follow;

#[derive(Debug, Args)]
#[command(after_help = "\
What the cluster changes by itself, whichever nodes die: replicas on their way from one node to another, nodes that leave, \
the evening out of replicas.

Examples:
  quorate cluster tasks --output json
  quorate cluster tasks --watch")]
pub(crate) struct TasksArgs {
    /// Show how it goes on, until nothing is left to do
    #[arg(long)]
    watch: bool,
}

#[derive(Serialize)]
struct TasksView {
    moves: Vec<MoveView>,
    leaving: Vec<LeavingView>,
    evening: bool,
    /// Nodes that evening out waits for.
    awaited: Vec<u64>,
}

#[derive(Serialize)]
struct MoveView {
    topic: String,
    partition: u32,
    from: Option<u64>,
    to: Option<u64>,
    state: &'static str,
    bytes_done: u64,
    bytes_total: u64,
}

#[derive(Serialize)]
struct LeavingView {
    node: u64,
    dead: bool,
    /// Replicas still to be moved away from it.
    replicas: u32,
}

pub(crate) async fn run(context: &Context, args: TasksArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    if args.watch {
        let idle = |tasks: &Tasks| tasks.moves.is_empty() && tasks.leaving.is_empty() && !tasks.evening;
        follow(context, &client, Duration::MAX, |tasks, _| idle(tasks)).await?;
    }
    let tasks = context.renewed().within("asking for the tasks", client.tasks()).await?;
    context.show(&TasksView {
        moves: tasks.moves.iter().map(MoveView::new).collect(),
        leaving: tasks.leaving.iter().map(LeavingView::new).collect(),
        evening: tasks.evening,
        awaited: tasks.awaited.iter().map(|node| node.0).collect(),
    })
}

impl MoveView {
    fn new(info: &MoveInfo) -> Self {
        Self {
            topic: info.name.to_string(),
            partition: info.partition,
            from: info.from.map(|node| node.0),
            to: info.to.map(|node| node.0),
            state: match info.state {
                MoveState::Adding => "adding",
                MoveState::CatchingUp => "catching up",
                MoveState::Switching => "switching",
                MoveState::TakingBack => "taking back",
            },
            bytes_done: info.bytes_done,
            bytes_total: info.bytes_total,
        }
    }
}

impl LeavingView {
    fn new(info: &LeavingInfo) -> Self {
        Self { node: info.node.0, dead: info.departure == Departure::Dead, replicas: info.replicas }
    }
}

impl View for TasksView {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        for leaving in &self.leaving {
            let how = if leaving.dead { "is removed as dead" } else { "leaves" };
            let replicas = count(leaving.replicas.into(), "replica");
            lines.push(format!("node {} {how}, {replicas} to be moved", leaving.node));
        }
        if self.evening {
            let awaited: Vec<String> = self.awaited.iter().map(ToString::to_string).collect();
            let waits =
                if awaited.is_empty() { String::new() } else { format!(", once node {} answers", awaited.join(", ")) };
            lines.push(format!("replicas are evened out over the nodes{waits}"));
        }
        if self.moves.is_empty() {
            if lines.is_empty() {
                return "nothing is being moved".to_owned();
            }
            return lines.join("\n");
        }
        let node = |node: Option<u64>| node.map_or_else(|| "-".to_owned(), |node| node.to_string());
        let mut columns =
            Columns::new(&["TOPIC", "PARTITION", "FROM", "TO", "STATE", "DONE", "OF"]).right(&[1, 2, 3, 5, 6]);
        for row in &self.moves {
            columns.row([
                row.topic.clone(),
                row.partition.to_string(),
                node(row.from),
                node(row.to),
                row.state.to_owned(),
                ByteSize(row.bytes_done).to_string(),
                ByteSize(row.bytes_total).to_string(),
            ]);
        }
        lines.push(columns.text());
        lines.join("\n")
    }
}
