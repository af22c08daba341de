//! `quorate topic describe`

use bytesize::ByteSize;
use clap::Args;
use quorate::{PartitionInfo, ReplicaInfo, ReplicaRole, TopicInfo};
use serde::Serialize;

use crate::args::TopicArg;
use crate::context::Context;
use crate::error::Failure;
use crate::output::{Columns, View, fields, or_dash};

#[derive(Debug, Args)]
#[command(after_help = "\
One line a replica: its role, and the end of its log on stable storage as an offset.

Example:
  quorate topic describe orders")]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    topic: TopicArg,
}

#[derive(Serialize)]
struct TopicView {
    name: String,
    id: u64,
    partition_count: u32,
    replication_factor: u32,
    segment_bytes: u64,
    created_at_metadata_index: u64,
    partitions: Vec<PartitionView>,
}

#[derive(Serialize)]
struct PartitionView {
    partition: u32,
    leader: Option<u64>,
    leader_epoch: u64,
    high_watermark: u64,
    replicas: Vec<ReplicaView>,
}

#[derive(Serialize)]
struct ReplicaView {
    id: u64,
    node: u64,
    role: &'static str,
    log_end_offset: u64,
    failure: Option<String>,
}

pub(crate) async fn run(context: &Context, args: DescribeArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let info = context.within("asking for the topic", client.topic(&args.topic.topic)).await?;
    context.show(&TopicView::new(&info))
}

impl TopicView {
    fn new(info: &TopicInfo) -> Self {
        Self {
            name: info.name.to_string(),
            id: info.id.0,
            partition_count: info.config.partitions,
            replication_factor: info.config.replication_factor,
            segment_bytes: info.config.segment_bytes,
            created_at_metadata_index: info.created_at,
            partitions: info.partitions.iter().map(PartitionView::new).collect(),
        }
    }
}

impl PartitionView {
    fn new(info: &PartitionInfo) -> Self {
        Self {
            partition: info.index,
            leader: info.leader.map(|node| node.0),
            leader_epoch: info.leader_epoch,
            high_watermark: info.high_watermark,
            replicas: info.replicas.iter().map(ReplicaView::new).collect(),
        }
    }
}

impl ReplicaView {
    fn new(info: &ReplicaInfo) -> Self {
        Self {
            id: info.id.0,
            node: info.node.0,
            role: match info.role {
                ReplicaRole::Leader => "leader",
                ReplicaRole::Follower => "follower",
                ReplicaRole::Learner => "learner",
                ReplicaRole::Candidate => "candidate",
                ReplicaRole::Unknown => "unknown",
                ReplicaRole::Failed => "failed",
            },
            log_end_offset: info.log_end_offset,
            failure: info.detail.clone(),
        }
    }
}

impl View for TopicView {
    fn text(&self) -> String {
        let head = fields([
            ("Topic", self.name.clone()),
            ("Id", self.id.to_string()),
            ("Partitions", self.partition_count.to_string()),
            ("Replication factor", self.replication_factor.to_string()),
            ("Segment size", ByteSize(self.segment_bytes).to_string()),
        ]);
        let headers =
            ["PARTITION", "LEADER", "EPOCH", "HIGH WATERMARK", "REPLICA", "NODE", "ROLE", "LOG END", "FAILURE"];
        let mut columns = Columns::new(&headers).right(&[0, 1, 2, 3, 4, 5, 7]);
        for partition in &self.partitions {
            for (position, replica) in partition.replicas.iter().enumerate() {
                // What is true of the partition stands on its first line only.
                let of_partition = |text: String| if position == 0 { text } else { String::new() };
                columns.row([
                    of_partition(partition.partition.to_string()),
                    of_partition(or_dash(partition.leader)),
                    of_partition(partition.leader_epoch.to_string()),
                    of_partition(partition.high_watermark.to_string()),
                    replica.id.to_string(),
                    replica.node.to_string(),
                    replica.role.to_owned(),
                    replica.log_end_offset.to_string(),
                    replica.failure.clone().unwrap_or_default(),
                ]);
            }
        }
        format!("{head}\n\n{}", columns.text())
    }
}
