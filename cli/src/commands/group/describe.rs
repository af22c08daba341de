//! `quorate group describe`

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use quorate::{CommittedOffset, GroupInfo, Lag, MemberInfo, PartitionId, TopicId, TopicName};
use serde::Serialize;
use tokio::time::Instant;

use super::GroupArg;
use crate::context::Context;
use crate::error::Failure;
use crate::output::{Columns, View, count, fields, milliseconds, or_dash};

/// The part of the time that is left for finding out how far the group is behind.
const LAG_SHARE: f64 = 0.8;

#[derive(Debug, Args)]
#[command(after_help = "\
The lag is the number of records between what the group has committed and the end of the partition, and the age of the first \
of them. A member marked with * has been told to give the partition up and has not finished with it.

Examples:
  quorate group describe billing
  quorate group describe billing --output json | jq '[.partitions[].lag] | add'")]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    group: GroupArg,
}

#[derive(Serialize)]
struct GroupView {
    name: String,
    state: String,
    epoch: u64,
    members: Vec<MemberView>,
    partitions: Vec<PartitionView>,
}

#[derive(Serialize)]
struct MemberView {
    id: String,
    client: String,
    instance: Option<String>,
    epoch: u64,
    partitions: usize,
    session_timeout_ms: u64,
}

#[derive(Serialize)]
struct PartitionView {
    /// `None` if the topic was deleted.
    topic: Option<String>,
    topic_id: u64,
    partition: u32,
    member: Option<String>,
    revoking: bool,
    committed: Option<u64>,
    committed_at_ms: Option<i64>,
    lag: Option<u64>,
    lag_ms: Option<u64>,
}

pub(crate) async fn run(context: &Context, args: DescribeArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let group = context.within("asking for the group", client.group(&args.group.group)).await?;
    let topics = context.within("asking for the topics", client.topics()).await?;
    let names: BTreeMap<TopicId, TopicName> = topics.into_iter().map(|topic| (topic.id, topic.name)).collect();
    let committed: BTreeMap<PartitionId, CommittedOffset> = group.committed.iter().copied().collect();
    let members = group.members.iter().flat_map(|member| member.assigned.iter().chain(&member.revoking));
    let partitions: BTreeSet<PartitionId> = committed.keys().chain(members).copied().collect();
    // What is not known by then is shown as such.
    let left = context.deadline().saturating_duration_since(Instant::now()).mul_f64(LAG_SHARE);
    let lags = client.group_lag(&group, left).await;
    let partitions = partitions.into_iter().map(|id| PartitionView::new(id, &group, &names, &committed, &lags));
    context.show(&GroupView {
        name: group.name.to_string(),
        state: group.state.to_string(),
        epoch: group.epoch,
        members: group.members.iter().map(MemberView::new).collect(),
        partitions: partitions.collect(),
    })
}

impl MemberView {
    fn new(member: &MemberInfo) -> Self {
        Self {
            id: member.id.to_string(),
            client: member.settings.client.clone(),
            instance: member.settings.instance.as_ref().map(ToString::to_string),
            epoch: member.epoch,
            partitions: member.assigned.len() + member.revoking.len(),
            session_timeout_ms: milliseconds(member.settings.session_timeout),
        }
    }
}

impl PartitionView {
    fn new(
        id: PartitionId,
        group: &GroupInfo,
        names: &BTreeMap<TopicId, TopicName>,
        committed: &BTreeMap<PartitionId, CommittedOffset>,
        lags: &BTreeMap<PartitionId, Lag>,
    ) -> Self {
        let revoking = group.members.iter().find(|member| member.revoking.contains(&id));
        let member = group.members.iter().find(|member| member.assigned.contains(&id)).or(revoking);
        let (committed, lag) = (committed.get(&id), lags.get(&id));
        Self {
            topic: names.get(&id.topic).map(ToString::to_string),
            topic_id: id.topic.0,
            partition: id.index,
            member: member.map(|member| member.id.to_string()),
            revoking: revoking.is_some(),
            committed: committed.map(|committed| committed.offset),
            committed_at_ms: committed.map(|committed| committed.committed_at_ms),
            lag: lag.map(|lag| lag.records),
            lag_ms: lag.map(|lag| milliseconds(lag.time)),
        }
    }
}

impl View for GroupView {
    fn text(&self) -> String {
        let head = fields([
            ("group", self.name.clone()),
            ("state", self.state.clone()),
            ("epoch", self.epoch.to_string()),
            ("lag", total_lag(&self.partitions)),
        ]);
        let mut members = Columns::new(&["MEMBER", "CLIENT", "INSTANCE", "PARTITIONS"]).right(&[3]);
        for member in &self.members {
            members.row([
                short(&member.id),
                member.client.clone(),
                or_dash(member.instance.clone()),
                member.partitions.to_string(),
            ]);
        }
        let headers = ["TOPIC", "PARTITION", "COMMITTED", "LAG", "BEHIND", "MEMBER"];
        let mut partitions = Columns::new(&headers).right(&[1, 2, 3, 4]);
        for partition in &self.partitions {
            let mark = if partition.revoking { "*" } else { "" };
            partitions.row([
                partition.topic.clone().unwrap_or_else(|| format!("(deleted, id {})", partition.topic_id)),
                partition.partition.to_string(),
                or_dash(partition.committed),
                or_dash(partition.lag),
                or_dash(partition.lag_ms.map(behind)),
                or_dash(partition.member.as_deref().map(|member| format!("{}{mark}", short(member)))),
            ]);
        }
        let tables = [members, partitions].map(|columns| columns.text());
        format!("{head}\n\n{}", tables.join("\n\n"))
    }
}

/// In words where it is not known of all partitions.
fn total_lag(partitions: &[PartitionView]) -> String {
    let known: Vec<u64> = partitions.iter().filter_map(|partition| partition.lag).collect();
    let sum: u64 = known.iter().sum();
    match partitions.len() - known.len() {
        0 => sum.to_string(),
        unknown => format!("{sum}, and unknown of {}", count(unknown as u64, "partition")),
    }
}

/// Enough of a member's id to tell it from the others.
fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

fn behind(ms: u64) -> String {
    let rounded = if ms < 1_000 { ms } else { ms / 1_000 * 1_000 };
    humantime::format_duration(std::time::Duration::from_millis(rounded)).to_string()
}
