//! `quorate node drain` and `quorate node undrain`

use std::time::{Duration, Instant};

use clap::Args;
use quorate::{Client, NodeId};
use serde::Serialize;

use crate::args;
use crate::context::Context;
use crate::error::{Failure, note};
use crate::output::View;

/// Between two looks at what the node still leads.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
#[command(after_help = "\
For maintenance: the node hands over what it leads and leads nothing until it is undrained, also after a restart. Its \
replicas stay and go on following; producers and consumers go on. The command waits until the node leads nothing; if \
it is interrupted, the node goes on all the same.

Examples:
  quorate node drain 2
  quorate node drain 2 --wait 0s && quorate node list")]
pub(crate) struct DrainArgs {
    /// The node, see `quorate node list`
    #[arg(value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..))]
    node: u64,
    /// How long to wait until it leads nothing; 0s not to wait
    #[arg(long, value_name = "DURATION", value_parser = args::duration, default_value = "60s")]
    wait: Duration,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Within seconds after that, leadership moves until all nodes lead alike.

Example:
  quorate node undrain 2")]
pub(crate) struct UndrainArgs {
    /// The node, see `quorate node list`
    #[arg(value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..))]
    node: u64,
}

#[derive(Serialize)]
struct DrainedView {
    node: u64,
    drained: bool,
    /// What it still leads, the metadata group included.
    leads: u32,
}

pub(crate) async fn drain(context: &Context, args: DrainArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let node = NodeId(args.node);
    context.within("draining the node", client.drain_node(node, true)).await?;
    let leads = wait_until_it_leads_nothing(&context.renewed(), &client, node, args.wait).await?;
    if leads > 0 && !args.wait.is_zero() {
        return Err(Failure::message(format!(
            "node {node} still leads {leads} groups after {}, since no other replica of them keeps up; it goes on, look at \
             `quorate node list`",
            humantime::format_duration(args.wait)
        )));
    }
    context.show(&DrainedView { node: args.node, drained: true, leads })
}

pub(crate) async fn undrain(context: &Context, args: UndrainArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let node = NodeId(args.node);
    context.within("undraining the node", client.drain_node(node, false)).await?;
    let leads = led_by(&context.renewed(), &client, node).await?;
    context.show(&DrainedView { node: args.node, drained: false, leads })
}

async fn wait_until_it_leads_nothing(
    context: &Context,
    client: &Client,
    node: NodeId,
    wait: Duration,
) -> Result<u32, Failure> {
    let until = Instant::now() + wait;
    let mut last = None;
    loop {
        let leads = led_by(context, client, node).await?;
        if leads == 0 || Instant::now() + LOOK_INTERVAL >= until {
            return Ok(leads);
        }
        if last.replace(leads) != Some(leads) {
            note(&format!("node {node} leads {leads} groups"));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The groups that a node leads, as far as known.
async fn led_by(context: &Context, client: &Client, node: NodeId) -> Result<u32, Failure> {
    let info = context.renewed().within("asking for the nodes", client.cluster_info()).await?;
    let partitions = info.nodes.iter().find(|info| info.id == node).map_or(0, |info| info.leader_count);
    Ok(partitions + u32::from(info.metadata_leader == Some(node)))
}

impl View for DrainedView {
    fn text(&self) -> String {
        let Self { node, leads, .. } = self;
        match (self.drained, leads) {
            (true, 0) => format!("node {node} leads nothing, and will not until it is undrained"),
            (true, leads) => format!("node {node} is to lead nothing; it still leads {leads} groups"),
            (false, _) => format!("node {node} may lead again"),
        }
    }
}
