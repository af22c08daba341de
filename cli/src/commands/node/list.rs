//! `quorate node list`

use clap::Args;
use quorate::{Departure, NodeInfo, NodeState};
use serde::Serialize;

use crate::context::Context;
use crate::error::Failure;
use crate::output::{Columns, View};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quorate node list --output json")]
pub(crate) struct ListArgs {}

#[derive(Serialize)]
#[serde(transparent)]
struct NodesView {
    nodes: Vec<NodeView>,
}

#[derive(Serialize)]
struct NodeView {
    id: u64,
    state: &'static str,
    drained: bool,
    /// `serving` or `dead` while it is being removed.
    leaving: Option<&'static str>,
    rack: Option<String>,
    client_address: String,
    peer_address: String,
    replicas: u32,
    leaders: u32,
    failed_replicas: u32,
    metadata_leader: bool,
    metadata_voter: bool,
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let info = context.within("asking for the nodes", client.cluster_info()).await?;
    let nodes = info.nodes.iter().map(|node| NodeView::new(node, info.metadata_leader == Some(node.id)));
    context.show(&NodesView { nodes: nodes.collect() })
}

impl NodeView {
    fn new(node: &NodeInfo, metadata_leader: bool) -> Self {
        Self {
            id: node.id.0,
            state: match node.state {
                NodeState::Up => "up",
                NodeState::Down => "down",
            },
            drained: node.drained,
            leaving: node.leaving.map(|departure| match departure {
                Departure::Serving => "serving",
                Departure::Dead => "dead",
            }),
            rack: node.rack.as_ref().map(ToString::to_string),
            client_address: node.client_address.to_string(),
            peer_address: node.peer_address.to_string(),
            replicas: node.replica_count,
            leaders: node.leader_count,
            failed_replicas: node.failed_replica_count,
            metadata_leader,
            metadata_voter: node.metadata_voter,
        }
    }
}

impl NodeView {
    fn state_in_words(&self) -> String {
        let drained = if self.drained { ", drained" } else { "" };
        let leaving = match self.leaving {
            None => "",
            Some("dead") => ", removed as dead",
            Some(_) => ", leaving",
        };
        format!("{}{drained}{leaving}", self.state)
    }
}

impl View for NodesView {
    fn text(&self) -> String {
        let headers = ["NODE", "STATE", "RACK", "CLIENTS", "PEERS", "REPLICAS", "LEADERS", "FAILED", "METADATA"];
        let mut columns = Columns::new(&headers).right(&[0, 5, 6, 7]);
        for node in &self.nodes {
            columns.row([
                node.id.to_string(),
                node.state_in_words(),
                node.rack.clone().unwrap_or_default(),
                node.client_address.clone(),
                node.peer_address.clone(),
                node.replicas.to_string(),
                node.leaders.to_string(),
                node.failed_replicas.to_string(),
                match (node.metadata_leader, node.metadata_voter) {
                    (true, _) => "leader",
                    (false, true) => "voter",
                    (false, false) => "copy",
                }
                .to_owned(),
            ]);
        }
        columns.text()
    }
}
