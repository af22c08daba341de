//! `quorate local status`

use clap::Args;
use futures::future::join_all;
use serde::Serialize;

use super::DirArg;
use crate::context::Context;
use crate::error::Failure;
use crate::local::state::{LocalDir, LocalNode};
use crate::local::wait;
use crate::output::{Columns, View, or_dash};

#[derive(Debug, Args)]
#[command(after_help = "\
STATE is up (the node answers), silent (its process runs but does not answer) or stopped. NODE is the number \
that `kill` and `restart` take, ID is the id the cluster gave the node.

Example:
  quorate local status --dir /tmp/five")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    dir: DirArg,
}

#[derive(Serialize)]
struct StatusView {
    dir: String,
    nodes: Vec<NodeView>,
}

#[derive(Serialize)]
struct NodeView {
    number: u16,
    id: Option<u64>,
    state: &'static str,
    pid: Option<u32>,
    client_address: String,
    peer_address: String,
    data_dir: String,
    log: String,
}

pub(crate) async fn run(context: &Context, args: StatusArgs) -> Result<(), Failure> {
    let dir = args.dir.resolve()?;
    let cluster = dir.load_existing()?;
    let nodes = join_all(cluster.nodes.iter().map(|node| NodeView::of(&dir, node))).await;
    context.show(&StatusView { dir: dir.path().display().to_string(), nodes })
}

impl NodeView {
    async fn of(dir: &LocalDir, node: &LocalNode) -> Self {
        let process = node.running();
        let answer = match process {
            Some(_) => wait::probe(node).await.ok(),
            None => None,
        };
        let state = match (process, &answer) {
            (None, _) => "stopped",
            (Some(_), None) => "silent",
            (Some(_), Some(_)) => "up",
        };
        Self {
            number: node.number,
            id: answer.map(|info| info.answered_by.0),
            state,
            pid: process.map(|process| process.pid),
            client_address: node.client_address().to_string(),
            peer_address: node.peer_address().to_string(),
            data_dir: node.data_dir.display().to_string(),
            log: dir.log_path(node.number).display().to_string(),
        }
    }
}

impl View for StatusView {
    fn text(&self) -> String {
        let headers = ["NODE", "STATE", "ID", "PID", "CLIENTS", "PEERS", "DATA"];
        let mut columns = Columns::new(&headers).right(&[0, 2, 3]);
        for node in &self.nodes {
            columns.row([
                node.number.to_string(),
                node.state.to_owned(),
                or_dash(node.id),
                or_dash(node.pid),
                node.client_address.clone(),
                node.peer_address.clone(),
                node.data_dir.clone(),
            ]);
        }
        columns.text()
    }
}
