//! `quorate local add`

use clap::Args;
use quorate_cluster_config::Name;
use serde::Serialize;

use super::DirArg;
use crate::context::Context;
use crate::error::Failure;
use crate::local::{binary, ports, spawn, wait};
use crate::output::View;

#[derive(Debug, Args)]
#[command(after_help = "\
Starts another node that joins the cluster, on the next ports, and waits until it answers; it gets its share of the \
replicas after that: `quorate cluster tasks --watch`. Its id in the cluster is another matter than its number here, see \
`quorate node list`.

Examples:
  quorate local add
  quorate local add --rack b && quorate cluster tasks --watch")]
pub(crate) struct AddArgs {
    /// The failure domain of the new node
    #[arg(long, value_name = "NAME", value_parser = Name::parse)]
    rack: Option<Name>,
    #[command(flatten)]
    dir: DirArg,
}

#[derive(Serialize)]
struct AddedView {
    number: u16,
    /// Its id in the cluster.
    node: u64,
    client_address: String,
}

pub(crate) async fn run(context: &Context, args: AddArgs) -> Result<(), Failure> {
    let context = context.with_timeout_default(wait::START_TIMEOUT_DEFAULT);
    let dir = args.dir.resolve()?;
    dir.load_existing()?;
    let program = binary::find()?;
    let _lock = dir.lock(context.deadline()).await?;
    let mut cluster = dir.load_existing()?;
    if cluster.running().is_empty() {
        return Err(Failure::message("no node of the local cluster runs, start it first: `quorate local start`"));
    }
    let number = cluster.add(&dir, args.rack)?;
    ports::ensure_free(&[cluster.node(number)?.ports()])?;
    let started = spawn::start(&program, &dir, &mut cluster, number)?;
    wait::until_answering(&dir, cluster.node(number)?, &[started], context.deadline()).await?;
    let node = cluster.node(number)?;
    let info = wait::probe(node).await.map_err(Failure::message)?;
    let client_address = node.client_address().to_string();
    context.show(&AddedView { number, node: info.answered_by.0, client_address })
}

impl View for AddedView {
    fn text(&self) -> String {
        format!("node {} at {} has joined with the id {}", self.number, self.client_address, self.node)
    }
}
