//! `quorate topic recover`

use std::fmt::Write;
use std::time::Duration;

use clap::Args;
use quorate::{Client, OutlookInfo, PartitionIndex, SurvivorInfo, TopicName};
use serde::Serialize;

use crate::args::TopicArg;
use crate::context::Context;
use crate::error::Failure;
use crate::output::{View, nodes};

/// Between two looks whether the partitions have leaders again.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
#[command(after_help = "\
For partitions whose majority is gone for good, and only for them: as long as one of the missing nodes can be started again, \
start it. Without --accept-data-loss the command only tells what would become of each partition. With it, each partition \
without a majority goes on from the sound replica that holds most, or from the one named by --from: records that only the missing replicas had are lost, \
acknowledged or not, and records that were never acknowledged may have come to stay. The files of missing replicas that \
come back later are kept on their nodes, and nothing reads them. What was decided is shown by `quorate topic describe`.

Examples:
  quorate topic recover orders
  quorate topic recover orders --partition 3 --accept-data-loss
  quorate topic recover orders --partition 3 --from 2 --accept-data-loss")]
pub(crate) struct RecoverArgs {
    #[command(flatten)]
    topic: TopicArg,
    /// Only this partition
    #[arg(long, value_name = "N")]
    partition: Option<PartitionIndex>,
    /// Go on from the replica on this node, and not from the one that is named first
    #[arg(long, value_name = "NODE", requires = "accept_data_loss")]
    from: Option<u64>,
    /// Go on without the records that only the missing replicas have
    #[arg(long)]
    accept_data_loss: bool,
}

#[derive(Serialize)]
struct RecoverView {
    topic: String,
    partitions: Vec<PartitionView>,
    /// Whether anything was changed.
    recovered: bool,
}

#[derive(Serialize)]
struct PartitionView {
    partition: PartitionIndex,
    #[serde(flatten)]
    verdict: Verdict,
    missing_nodes: Vec<u64>,
}

#[derive(Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Verdict {
    /// A majority is there.
    Healthy,
    /// It can go on, or goes on by now.
    Recoverable {
        replica: u64,
        node: u64,
        /// Records from there on that only the missing replicas had are lost.
        log_end_offset: u64,
        /// Records from there on may have come to stay unacknowledged.
        high_watermark: u64,
        damaged: bool,
        recovered: bool,
        /// The other replicas that are there.
        others: Vec<SurvivorView>,
    },
    /// No replica is there.
    Lost,
}

#[derive(Serialize)]
struct SurvivorView {
    replica: u64,
    node: u64,
    log_end_offset: u64,
    high_watermark: u64,
    damaged: bool,
}

impl From<&SurvivorInfo> for SurvivorView {
    fn from(info: &SurvivorInfo) -> Self {
        let SurvivorInfo { replica, node, log_end_offset, high_watermark, damaged } = *info;
        Self { replica: replica.0, node: node.0, log_end_offset, high_watermark, damaged }
    }
}

pub(crate) async fn run(context: &Context, args: RecoverArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let name = &args.topic.topic;
    let mut outlooks = context.within("looking at the partitions", client.outlook(name)).await?;
    if let Some(partition) = args.partition {
        outlooks.retain(|outlook| outlook.partition == partition);
        if outlooks.is_empty() {
            return Err(Failure::message(format!("topic {name} has no partition {partition}")));
        }
    }
    if let Some(node) = args.from {
        outlooks.iter_mut().for_each(|outlook| outlook.survivors.sort_by_key(|survivor| survivor.node.0 != node));
        let elsewhere = |outlook: &&OutlookInfo| {
            !outlook.has_majority && outlook.survivors.first().is_none_or(|survivor| survivor.node.0 != node)
        };
        if let Some(OutlookInfo { partition, .. }) = outlooks.iter().find(elsewhere) {
            return Err(Failure::message(format!("node {node} has no replica of partition {partition} to go on from")));
        }
    }
    let mut partitions: Vec<PartitionView> = outlooks.iter().map(PartitionView::new).collect();
    let mut decided = Ok(());
    if args.accept_data_loss {
        for (outlook, view) in outlooks.iter().zip(&mut partitions) {
            decided = view.recover(&context.renewed(), &client, name, outlook).await;
            if decided.is_err() {
                break;
            }
        }
        if decided.is_ok() {
            decided = wait_for_leaders(&context.renewed(), &client, name, &partitions).await;
        }
    }
    let lost = partitions.iter().filter(|view| matches!(view.verdict, Verdict::Lost)).count();
    context.show(&RecoverView { topic: name.to_string(), partitions, recovered: args.accept_data_loss })?;
    decided?;
    if args.accept_data_loss && lost > 0 {
        return Err(Failure::message(format!(
            "{lost} partitions of topic {name} have no replica left, start a node that has one, or delete the topic"
        )));
    }
    Ok(())
}

/// Waits until the partitions that go on have leaders, at most as long as the command may take.
async fn wait_for_leaders(
    context: &Context,
    client: &Client,
    name: &TopicName,
    views: &[PartitionView],
) -> Result<(), Failure> {
    let recovered = |partition: PartitionIndex| {
        views.iter().any(|view| view.partition == partition && matches!(view.verdict, Verdict::Recoverable { .. }))
    };
    let waiting = async {
        loop {
            let topic = client.topic(name).await?;
            let mut without = topic.partitions.iter().filter(|partition| partition.leader.is_none());
            if !without.any(|partition| recovered(partition.index)) {
                return Ok::<(), quorate::Error>(());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    context.within("waiting for leaders, the recovery is decided and goes on", waiting).await
}

impl PartitionView {
    fn new(outlook: &OutlookInfo) -> Self {
        let verdict = match outlook.survivors.first() {
            _ if outlook.has_majority => Verdict::Healthy,
            None => Verdict::Lost,
            Some(best) => Verdict::Recoverable {
                replica: best.replica.0,
                node: best.node.0,
                log_end_offset: best.log_end_offset,
                high_watermark: best.high_watermark,
                damaged: best.damaged,
                recovered: false,
                others: outlook.survivors.iter().skip(1).map(SurvivorView::from).collect(),
            },
        };
        let missing_nodes = outlook.missing.iter().map(|missing| missing.node.0).collect();
        Self { partition: outlook.partition, verdict, missing_nodes }
    }

    async fn recover(
        &mut self,
        context: &Context,
        client: &Client,
        name: &TopicName,
        outlook: &OutlookInfo,
    ) -> Result<(), Failure> {
        if let (Verdict::Recoverable { recovered, .. }, Some(survivor)) = (&mut self.verdict, outlook.survivors.first())
        {
            let recovering = client.recover_partition(name, self.partition, survivor);
            context.within("recovering the partition", recovering).await?;
            *recovered = true;
        }
        Ok(())
    }
}

impl View for RecoverView {
    fn text(&self) -> String {
        let mut text = String::new();
        let mut recoverable = 0;
        for view in &self.partitions {
            let missing = nodes(&view.missing_nodes);
            match &view.verdict {
                Verdict::Healthy => {
                    _ = writeln!(text, "partition {}: a majority of its replicas is there", view.partition)
                }
                Verdict::Lost => {
                    _ = writeln!(text, "partition {}: no replica is there; it was on {missing}", view.partition);
                }
                Verdict::Recoverable { replica, node, log_end_offset, high_watermark, damaged, recovered, others } => {
                    recoverable += 1;
                    let goes = if *recovered { "goes on" } else { "could go on" };
                    _ = writeln!(
                        text,
                        "partition {}: {goes} from replica {replica} on node {node}, which ends at offset {log_end_offset}",
                        view.partition
                    );
                    _ = writeln!(
                        text,
                        "  lost: records from offset {log_end_offset} on that only {missing} had, acknowledged or not"
                    );
                    if high_watermark < log_end_offset {
                        let last = log_end_offset - 1;
                        _ = writeln!(
                            text,
                            "  kept: offsets {high_watermark} to {last}, which may never have been acknowledged"
                        );
                    }
                    if *damaged {
                        _ = writeln!(
                            text,
                            "  its log is damaged: the records there are lost, too, and it stays the only replica until they are trimmed"
                        );
                    }
                    for other in others {
                        let damage = if other.damaged { ", and its log is damaged" } else { "" };
                        _ = writeln!(
                            text,
                            "  also there: replica {} on node {}, which ends at offset {}{damage}; choose it with --from {}",
                            other.replica, other.node, other.log_end_offset, other.node
                        );
                    }
                }
            }
        }
        text.push_str(match (self.recovered, recoverable) {
            (true, _) => "what was decided is shown by `quorate topic describe`",
            (false, 0) => "nothing is to be recovered",
            (false, _) => "nothing was changed; if the missing nodes are gone for good, add --accept-data-loss",
        });
        text
    }
}
