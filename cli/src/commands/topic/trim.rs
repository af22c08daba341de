//! `quorate topic trim`

use std::str::FromStr;
use std::time::SystemTime;

use clap::Args;
use quorate::OffsetQuery;
use serde::Serialize;

use crate::args::TopicArg;
use crate::context::Context;
use crate::error::Failure;
use crate::output::{View, count};
use crate::{confirm, moment};

#[derive(Debug, Args)]
#[command(after_help = "\
The records are gone for every reader once the command returns, and never come back. Their space on the disks is \
freed in the background, whole segments at a time.

With @TIMESTAMP, all batches go that the partition's leader took before it: milliseconds since 1970 \
(@1700000000000), RFC 3339 (@2026-01-31T12:00:00Z) or a time before now (@-7d).

Examples:
  quorate topic trim orders --partition 0 --before 5000
  quorate topic trim orders --partition 0 --before @-7d --yes")]
pub(crate) struct TrimArgs {
    #[command(flatten)]
    topic: TopicArg,
    /// The partition
    #[arg(long, value_name = "N")]
    partition: u32,
    /// The first record to keep, or a time
    #[arg(long, value_name = "OFFSET|@TIMESTAMP")]
    before: Before,
    /// Do not ask; required where nobody can be asked
    #[arg(long)]
    yes: bool,
}

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Offset(u64),
    AtTime(i64),
}

impl FromStr for Before {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            Some(time) => moment::parse(time, SystemTime::now()).map(Self::AtTime),
            None => text.parse().map(Self::Offset).map_err(|_| format!("write an offset, or {}", moment::EXAMPLES)),
        }
    }
}

#[derive(Serialize)]
struct TrimmedView {
    topic: String,
    partition: u32,
    log_start_offset: u64,
}

pub(crate) async fn run(context: &Context, args: TrimArgs) -> Result<(), Failure> {
    let TrimArgs { topic: TopicArg { topic }, partition, before, yes } = args;
    let not_done = format!("partition {partition} of topic {topic} was not trimmed");
    if !yes {
        confirm::require_somebody(&not_done)?;
    }
    let client = context.connect().await?;
    let offset = |query| context.within("asking for the offsets", client.offset(&topic, partition, query));
    let before = match before {
        Before::Offset(offset) => offset,
        Before::AtTime(ms) => offset(OffsetQuery::AtTime { ms }).await?,
    };
    let (first, end) = (offset(OffsetQuery::First).await?, offset(OffsetQuery::Last).await?);
    if before > end {
        return Err(Failure::message(format!(
            "{not_done}, {before} is above its end, {end}, use an offset up to {end}"
        )));
    }
    if !yes && before > first {
        let records = count(before - first, "record");
        let question = format!("Delete {records} before offset {before} of partition {partition} of topic {topic}?");
        confirm::ask(&question, &not_done)?;
    }
    let context = context.renewed();
    let log_start_offset = context.within("trimming the partition", client.trim(&topic, partition, before)).await?;
    context.show(&TrimmedView { topic: topic.to_string(), partition, log_start_offset })
}

impl View for TrimmedView {
    fn text(&self) -> String {
        let Self { topic, partition, log_start_offset } = self;
        format!("partition {partition} of topic {topic} now starts at offset {log_start_offset}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_or_a_time_is_read_and_nothing_else() {
        assert_eq!("42".parse(), Ok(Before::Offset(42)));
        assert_eq!("@42".parse(), Ok(Before::AtTime(42)));
        for text in ["", "-1", "first", "@", "1.5", "@yesterday"] {
            assert!(text.parse::<Before>().is_err_and(|error| error.contains("@-1h")), "{text:?}");
        }
    }
}
