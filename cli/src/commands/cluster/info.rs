//! `quorate cluster info`

use clap::Args;
use quorate::{ClusterInfo, MetadataRecoveryInfo, NodeState};
use serde::Serialize;

use crate::context::Context;
use crate::error::Failure;
use crate::output::{View, fields, nodes, or_dash, time};

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
    /// What all nodes understand.
    metadata_level: u32,
    metadata_recoveries: Vec<RecoveryView>,
}

/// The metadata went on from one node after their majority was gone for good.
#[derive(Serialize)]
struct RecoveryView {
    decided_at_ms: i64,
    metadata_index: u64,
    node: u64,
    lost_nodes: Vec<u64>,
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
            metadata_level: info.metadata_level,
            metadata_recoveries: info.metadata_recoveries.iter().map(RecoveryView::new).collect(),
        }
    }
}

impl RecoveryView {
    fn new(info: &MetadataRecoveryInfo) -> Self {
        Self {
            decided_at_ms: info.decided_at_ms,
            metadata_index: info.metadata_index,
            node: info.node.0,
            lost_nodes: info.lost.iter().map(|node| node.0).collect(),
        }
    }
}

impl View for InfoView {
    fn text(&self) -> String {
        let recoveries = self.metadata_recoveries.iter().map(|row| {
            let (time, lost) = (time(row.decided_at_ms), nodes(&row.lost_nodes));
            format!("\n{time}: the metadata went on from node {} alone; given up: {lost}", row.node)
        });
        let head = fields([
            ("Cluster", self.cluster_id.clone()),
            ("Answered by node", self.answered_by.to_string()),
            ("Metadata leader", or_dash(self.metadata_leader)),
            ("Metadata index", self.metadata_index.to_string()),
            ("Nodes", format!("{} of {} up", self.nodes_up, self.nodes)),
            ("Topics", self.topics.to_string()),
            ("Partitions", self.partitions.to_string()),
            ("Metadata level", self.metadata_level.to_string()),
        ]);
        head + &recoveries.collect::<String>()
    }
}
