//! `quorate cluster tasks`

use bytesize::ByteSize;
use clap::Args;
use quorate::{MoveInfo, MoveState};
use serde::Serialize;

use crate::context::Context;
use crate::error::Failure;
use crate::output::{Columns, View};

#[derive(Debug, Args)]
#[command(after_help = "\
Each line is a replica on its way from one node to another. Moves go on by themselves, whichever nodes die.

Example:
  quorate cluster tasks --output json")]
pub(crate) struct TasksArgs {}

#[derive(Serialize)]
#[serde(transparent)]
struct TasksView {
    moves: Vec<MoveView>,
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

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let moves = context.within("asking for the moves", client.moves()).await?;
    context.show(&TasksView { moves: moves.iter().map(MoveView::new).collect() })
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

impl View for TasksView {
    fn text(&self) -> String {
        if self.moves.is_empty() {
            return "nothing is being moved".to_owned();
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
        columns.text()
    }
}
