//! `quorate topic list`

use bytesize::ByteSize;
use clap::Args;
use quorate::TopicInfo;
use serde::Serialize;

use crate::context::Context;
use crate::error::Failure;
use crate::output::{Columns, View};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quorate topic list --output json | jq -r '.[].name'")]
pub(crate) struct ListArgs {
    /// Also those that belong to the cluster itself
    #[arg(long)]
    all: bool,
}

#[derive(Serialize)]
#[serde(transparent)]
struct TopicsView {
    topics: Vec<TopicView>,
}

#[derive(Serialize)]
struct TopicView {
    name: String,
    id: u64,
    partitions: u32,
    replication_factor: u32,
    segment_bytes: u64,
    leaderless_partitions: usize,
}

pub(crate) async fn run(context: &Context, args: ListArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let topics = context.within("asking for the topics", client.topics()).await?;
    let shown = topics.iter().filter(|topic| args.all || !topic.name.is_system());
    context.show(&TopicsView { topics: shown.map(TopicView::new).collect() })
}

impl TopicView {
    fn new(info: &TopicInfo) -> Self {
        Self {
            name: info.name.to_string(),
            id: info.id.0,
            partitions: info.config.partitions,
            replication_factor: info.config.replication_factor,
            segment_bytes: info.config.segment_bytes,
            leaderless_partitions: info.partitions.iter().filter(|partition| partition.leader.is_none()).count(),
        }
    }
}

impl View for TopicsView {
    fn text(&self) -> String {
        let headers = ["TOPIC", "PARTITIONS", "REPLICATION", "SEGMENT", "LEADERLESS"];
        let mut columns = Columns::new(&headers).right(&[1, 2, 3, 4]);
        for topic in &self.topics {
            columns.row([
                topic.name.clone(),
                topic.partitions.to_string(),
                topic.replication_factor.to_string(),
                ByteSize(topic.segment_bytes).to_string(),
                topic.leaderless_partitions.to_string(),
            ]);
        }
        columns.text()
    }
}
