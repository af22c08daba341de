//! `quorate node add`

use std::time::Duration;

use clap::Args;
use quorate::{Client, ClusterInfo, NodeId, NodeState, Tasks};
use quorate_cluster_config::Address;
use serde::Serialize;

use crate::args;
use crate::context::Context;
use crate::error::Failure;
use crate::output::{View, count};
use crate::progress::{follow, unfinished};

#[derive(Debug, Args)]
#[command(after_help = "\
The node must run and wait for that: start it with an empty data directory and `quorate-node --standby …`. (A node started \
with --join adds itself.) It is given an id, gets a copy of the metadata, and then its share of the replicas and of the \
leadership. The command waits until it has its replicas; if it is interrupted, all of that goes on.

Examples:
  quorate node add 10.0.0.4:7201
  quorate node add 127.0.0.1:7204 --wait 0s")]
pub(crate) struct AddArgs {
    /// The node's peer address
    #[arg(value_name = "HOST:PORT")]
    peer_address: Address,
    /// How long to wait until it has its share of the replicas; 0s not to wait
    #[arg(long, value_name = "DURATION", value_parser = args::duration, default_value = "1h")]
    wait: Duration,
}

#[derive(Serialize)]
struct AddedView {
    node: u64,
    peer_address: String,
    /// Replicas placed on it.
    replicas: u32,
    done: bool,
}

pub(crate) async fn run(context: &Context, args: AddArgs) -> Result<(), Failure> {
    let context = context.with_timeout_default(Duration::from_secs(30));
    let client = context.connect().await?;
    let node = context.within("adding the node", client.add_node(&args.peer_address)).await?;
    let ready = |tasks: &Tasks, info: &ClusterInfo| {
        let up = info.nodes.iter().any(|info| info.id == node && info.state == NodeState::Up);
        up && !tasks.evening && tasks.moves.iter().all(|info| info.to != Some(node))
    };
    let followed = follow(&context, &client, args.wait, ready).await?;
    if !followed.done && !args.wait.is_zero() {
        return Err(unfinished(&format!("node {node} was added, but its share of the replicas"), args.wait, followed));
    }
    let replicas = replicas(&context, &client, node).await?;
    context.show(&AddedView {
        node: node.0,
        peer_address: args.peer_address.to_string(),
        replicas,
        done: followed.done,
    })
}

async fn replicas(context: &Context, client: &Client, node: NodeId) -> Result<u32, Failure> {
    let info = context.renewed().within("asking for the nodes", client.cluster_info()).await?;
    Ok(info.nodes.iter().find(|info| info.id == node).map_or(0, |info| info.replica_count))
}

impl View for AddedView {
    fn text(&self) -> String {
        let Self { node, peer_address, .. } = self;
        match self.done {
            true => format!(
                "node {node} at {peer_address} is part of the cluster and has {}",
                count(self.replicas.into(), "replica")
            ),
            false => format!(
                "node {node} at {peer_address} was added; it gets its replicas by and by, see `quorate cluster tasks`"
            ),
        }
    }
}
