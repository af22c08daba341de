//! `quorate cluster info`

use clap::Args;
use quorate::{ClusterInfo, NodeState};
use serde::Serialize;

use crate::context::Context;
use crate::error::Failure;
use crate::output::{View, fields, or_dash};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quorate cluster info --server node1:7101,node2:7101")]
pub(crate) struct InfoArgs {}

#[derive(Serialize)]
struct InfoView {
    cluster_id: String,
    answered_by: u64,
    metadata_leader: Option<u64>,
    metadata_index: u64,
    nodes: usize,
    nodes_up: usize,
    topics: u32,
    partitions: u32,
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let info = context.within("asking for the cluster", client.cluster_info()).await?;
    context.show(&InfoView::new(&info))
}

impl InfoView {
    fn new(info: &ClusterInfo) -> Self {
        Self {
            cluster_id: info.cluster_id.to_string(),
            answered_by: info.answered_by.0,
            metadata_leader: info.metadata_leader.map(|node| node.0),
            metadata_index: info.metadata_index,
            nodes: info.nodes.len(),
            nodes_up: info.nodes.iter().filter(|node| node.state == NodeState::Up).count(),
            topics: info.topic_count,
            partitions: info.partition_count,
        }
    }
}

impl View for InfoView {
    fn text(&self) -> String {
        fields([
            ("Cluster", self.cluster_id.clone()),
            ("Answered by node", self.answered_by.to_string()),
            ("Metadata leader", or_dash(self.metadata_leader)),
            ("Metadata index", self.metadata_index.to_string()),
            ("Nodes", format!("{} of {} up", self.nodes_up, self.nodes)),
            ("Topics", self.topics.to_string()),
            ("Partitions", self.partitions.to_string()),
        ])
    }
}
