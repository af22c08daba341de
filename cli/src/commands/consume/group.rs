//! `quorate consume --group`: as a member of a consumer group. What was printed is committed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use quorate::{Client, CommitMode, GroupConsumer, Name, PartitionId, ServeFrom, TopicInfo};

use super::range::{From, Range};
use super::writer::RecordWriter;
use crate::context::Context;
use crate::error::Failure;
use crate::interrupt::interrupted;

/// Between two looks at what the other members have read.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// What is read and how.
pub(super) struct GroupRead<'a> {
    pub(super) group: &'a Name,
    pub(super) topic: &'a TopicInfo,
    pub(super) from: From,
    pub(super) serve_from: ServeFrom,
    /// Wait for more at the end.
    pub(super) follow: bool,
    /// What the partitions held when the command began.
    pub(super) ranges: Vec<Range>,
}

impl GroupRead<'_> {
    /// Prints the records that come to this member, until there are as many as asked for, until the group has read what
    /// there was when it began, or without end.
    pub(super) async fn run(
        self,
        context: &Context,
        client: &Client,
        writer: &mut RecordWriter,
    ) -> Result<(), Failure> {
        let builder = client.group_consumer(self.group, [self.topic.name.clone()]);
        let builder = builder.from(self.from.into()).serve_from(self.serve_from).commit_mode(CommitMode::Manual);
        let mut member = context.within("joining the group", builder.build()).await?;
        let read = tokio::select! {
            biased;
            interrupted = interrupted() => interrupted,
            read = self.read(context, client, &mut member, writer) => read,
        };
        // What was printed before Ctrl-C may not be committed yet: then it is printed again.
        writer.flush()?;
        member.close().await?;
        read
    }

    async fn read(
        &self,
        context: &Context,
        client: &Client,
        member: &mut GroupConsumer,
        writer: &mut RecordWriter,
    ) -> Result<(), Failure> {
        let counts = writer.is_limited();
        let mut progress = Instant::now();
        while !writer.is_full() {
            let records = member.poll(LOOK_INTERVAL).await?;
            let mut written = None;
            for record in &records {
                if !writer.is_full() {
                    writer.write(record)?;
                    written = Some((record.id(), record.offset + 1));
                }
            }
            // Printed first, then committed, and only then may the partition go to another member: within the next poll.
            writer.flush()?;
            if let Some(written) = written {
                member.commit_offsets(&[written]).await?;
                progress = Instant::now();
                continue;
            }
            if self.follow {
                continue;
            }
            if !counts && self.is_read(client, member).await? {
                return Ok(());
            }
            if progress.elapsed() >= context.timeout() {
                let why =
                    if counts { "fewer records are there than --count asks for" } else { "other members may be slow" };
                return Err(Failure::message(format!(
                    "nothing came for {}, {why}, look at `quorate group describe {}` or add --follow to wait",
                    humantime::format_duration(context.timeout()),
                    self.group
                )));
            }
        }
        Ok(())
    }

    /// Whether the group has read what there was when the command began.
    async fn is_read(&self, client: &Client, member: &GroupConsumer) -> Result<bool, Failure> {
        let info = client.group(self.group).await?;
        let committed: BTreeMap<PartitionId, u64> =
            info.committed.iter().map(|(id, committed)| (*id, committed.offset)).collect();
        Ok(self.ranges.iter().all(|range| {
            let id = PartitionId { topic: self.topic.id, index: range.partition };
            let position = member.position(id).max(committed.get(&id).copied());
            range.start == range.end || position.is_some_and(|position| position >= range.end)
        }))
    }
}
