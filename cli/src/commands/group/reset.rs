//! `quorate group reset`

use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use quorate::{Client, OffsetQuery, PartitionId, TopicName};
use serde::Serialize;

use super::GroupArg;
use crate::commands::consume::From;
use crate::confirm;
use crate::context::Context;
use crate::error::Failure;
use crate::output::{Columns, View};

/// Partitions asked after at once.
const PARTITIONS_ASKED_MAX: usize = 64;

#[derive(Debug, Args)]
#[command(after_help = "\
The group must have no members. @TIMESTAMP is milliseconds since 1970 (@1700000000000), RFC 3339 (@2026-01-31T12:00:00Z) or a \
time before now (@-1h): the group goes on with the first batch that was taken then or later. An offset outside of a partition is \
refused.

Examples:
  quorate group reset billing --topic orders --to @-1h
  quorate group reset billing --topic orders --partition 2 --to 1500 --yes")]
pub(crate) struct ResetArgs {
    #[command(flatten)]
    group: GroupArg,
    /// The topic
    #[arg(long, value_name = "TOPIC")]
    topic: TopicName,
    /// Reset this partition only; may be repeated [default: all]
    #[arg(long, value_name = "N")]
    partition: Vec<u32>,
    /// Where to go on: first, last, an offset or a time
    #[arg(long, value_name = "first|last|OFFSET|@TIMESTAMP")]
    to: From,
    /// Do not ask; required where nobody can be asked
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct ResetView {
    group: String,
    topic: String,
    partitions: Vec<PartitionView>,
}

#[derive(Serialize)]
struct PartitionView {
    partition: u32,
    before: Option<u64>,
    now: u64,
}

pub(crate) async fn run(context: &Context, args: ResetArgs) -> Result<(), Failure> {
    let ResetArgs { group: GroupArg { group }, topic, partition, to, yes } = args;
    let not_done = format!("group {group} was not reset");
    if !yes {
        confirm::require_somebody(&not_done)?;
    }
    let client = context.connect().await?;
    let info = context.within("asking for the topic", client.topic(&topic)).await?;
    let partitions = crate::commands::consume::partitions(&info, &partition)?;
    let asked = async {
        stream::iter(partitions)
            .map(|index| offset(&client, &topic, index, to, &not_done))
            .buffered(PARTITIONS_ASKED_MAX)
            .try_collect::<Vec<(u32, u64)>>()
            .await
    };
    let offsets = context.within("asking for the offsets", asked).await?;
    // A group that does not exist is made.
    let committed = match context.within("asking for the group", client.group(&group)).await {
        Ok(info) => info.committed,
        Err(error) if error.is(quorate::ErrorCode::UnknownGroup) => Vec::new(),
        Err(error) => return Err(error),
    };
    let before = |id: PartitionId| committed.iter().find(|(of, _)| *of == id).map(|(_, committed)| committed.offset);
    let id = |index: u32| PartitionId { topic: info.id, index };
    let view = ResetView {
        group: group.to_string(),
        topic: topic.to_string(),
        partitions: offsets
            .iter()
            .map(|(index, now)| PartitionView { partition: *index, before: before(id(*index)), now: *now })
            .collect(),
    };
    if !yes {
        confirm::ask(&format!("{}\nHave group {group} go on there?", view.text()), &not_done)?;
    }
    let offsets: Vec<(PartitionId, Option<u64>)> =
        offsets.into_iter().map(|(index, offset)| (id(index), Some(offset))).collect();
    let context = context.renewed();
    context.within("resetting the group", client.reset_group(&group, &offsets)).await?;
    context.show(&view)
}

async fn offset(
    client: &Client,
    topic: &TopicName,
    partition: u32,
    to: From,
    not_done: &str,
) -> Result<(u32, u64), Failure> {
    let query = match to {
        From::First => OffsetQuery::First,
        From::Last => OffsetQuery::Last,
        From::AtTime(ms) => OffsetQuery::AtTime { ms },
        From::Offset(offset) => {
            let first = client.offset(topic, partition, OffsetQuery::First).await?;
            let end = client.offset(topic, partition, OffsetQuery::Last).await?;
            if !(first..=end).contains(&offset) {
                return Err(Failure::message(format!(
                    "{not_done}, partition {partition} holds offsets from {first} to before {end}, use --partition and one of them"
                )));
            }
            return Ok((partition, offset));
        }
    };
    Ok((partition, client.offset(topic, partition, query).await?))
}

impl View for ResetView {
    fn text(&self) -> String {
        let mut columns = Columns::new(&["TOPIC", "PARTITION", "BEFORE", "NOW"]).right(&[1, 2, 3]);
        for partition in &self.partitions {
            columns.row([
                self.topic.clone(),
                partition.partition.to_string(),
                crate::output::or_dash(partition.before),
                partition.now.to_string(),
            ]);
        }
        columns.text()
    }
}
