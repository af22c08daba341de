//! `quorate consume`

mod group;
mod range;
mod writer;

use std::time::{Duration, Instant};

use clap::Args;
use quorate::{ConsumedRecord, Consumer, Name, ServeFrom};

use self::group::GroupRead;
use self::range::Range;
pub(crate) use self::range::{From, partitions};
use self::writer::RecordWriter;
use crate::args::TopicArg;
use crate::context::Context;
use crate::error::Failure;
use crate::format::RecordFormat;
use crate::output::Format;

/// How long one poll waits; a longer wait is several polls.
const POLL_WAIT: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(after_help = "\
--from @TIMESTAMP begins with the first batch that the partition's leader took at that time or later: milliseconds \
since 1970 (@1700000000000), RFC 3339 (@2026-01-31T12:00:00Z) or a time before now (@-1h). A batch is printed as a whole.

Without --count and --follow, consume stops at the high watermarks it saw when it began. --count stops after \
that many records and waits for them if there are fewer; --follow waits for more until Ctrl-C. --timeout bounds how long a partition may have no leader.

With --group, members share the partitions, and each goes on where the group has committed; --from says where to begin where \
nothing is committed. What was printed is committed after each fetch. Without --count and --follow, \
consume stops once the group has read what there was when it began.

--format takes the letters of kcat and rpk: %t topic, %p partition, %o offset, %k key, %v value, \
%d timestamp in ms, %h headers, %% a percent sign, and the escapes \\n \\r \\t \\0 \\\\. Nothing is added to it, \
so end it in \\n. `json` prints one object a line; a key or value that is not UTF-8 is in key_base64 or \
value_base64. Without --format, values are printed as they are, a line each.

Examples:
  quorate consume orders
  quorate consume orders --partition 0 --from 42 --count 10
  quorate consume orders --from @-1h --any-replica
  quorate consume orders --group billing --follow
  quorate consume orders --from last --follow --format '%p %o %k %v\\n'")]
pub(crate) struct ConsumeArgs {
    #[command(flatten)]
    topic: TopicArg,
    /// Read this partition only; may be repeated [default: all]
    #[arg(long, value_name = "N", conflicts_with = "group")]
    partition: Vec<u32>,
    /// Read as a member of this consumer group, and commit what was printed
    #[arg(long, value_name = "GROUP")]
    group: Option<Name>,
    /// Where to begin: first, last, an offset or a time
    #[arg(long, value_name = "first|last|OFFSET|@TIMESTAMP", default_value = "first")]
    from: range::From,
    /// Read from followers rather than leaders; they may be a moment behind
    #[arg(long)]
    any_replica: bool,
    /// Stop after this many records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Wait for more records at the end
    #[arg(long, short)]
    follow: bool,
    /// How to print a record [default: '%v\n'; with --output json: json]
    #[arg(long, value_name = "FORMAT|json")]
    format: Option<RecordFormat>,
}

pub(crate) async fn run(context: &Context, args: ConsumeArgs) -> Result<(), Failure> {
    let format = record_format(context.format, args.format)?;
    let client = context.connect().await?;
    let topic = &args.topic.topic;
    let info = context.within("asking for the topic", client.topic(topic)).await?;
    let partitions = range::partitions(&info, &args.partition)?;
    let ranges = range::ranges(&client, topic, &partitions);
    let ranges = context.within("asking for the offsets", ranges).await?;
    range::check(topic, &ranges, args.from)?;
    let serve_from = if args.any_replica { ServeFrom::AnyReplica } else { ServeFrom::Leader };
    let mut writer = RecordWriter::new(topic.to_string(), format, args.count);
    if let Some(group) = &args.group {
        let read = GroupRead { group, topic: &info, from: args.from, serve_from, follow: args.follow, ranges };
        return read.run(context, &client, &mut writer).await;
    }
    let builder = client.consumer(topic).partitions(partitions).from(args.from.into()).serve_from(serve_from);
    let mut consumer = context.within("setting up the consumer", builder.build()).await?;

    let written = if args.follow || args.count.is_some() {
        follow(context, &mut consumer, &mut writer, args.follow).await
    } else {
        let unread = range::unread(ranges, |partition| consumer.position(partition));
        read_until_end(context, &mut consumer, &mut writer, unread).await
    };
    // What was read before a failure is worth printing.
    writer.flush()?;
    written
}

fn record_format(output: Format, asked: Option<RecordFormat>) -> Result<RecordFormat, Failure> {
    match (output, asked) {
        (Format::Table, None) => Ok(RecordFormat::values()),
        (Format::Table, Some(format)) => Ok(format),
        (Format::Json, None | Some(RecordFormat::Json)) => Ok(RecordFormat::Json),
        (Format::Json, Some(RecordFormat::Text(_))) => Err(Failure::Usage(
            "--output json prints records as JSON and does not go with another --format, leave one of them out"
                .to_owned(),
        )),
    }
}

/// Prints records until there are as many as asked for, or without end. Unless told to be `patient`, it fails if none
/// comes for as long as `--timeout`.
async fn follow(
    context: &Context,
    consumer: &mut Consumer,
    writer: &mut RecordWriter,
    patient: bool,
) -> Result<(), Failure> {
    let mut progress = Instant::now();
    while !writer.is_full() {
        let records = poll(consumer, writer).await?;
        if !records.is_empty() {
            progress = Instant::now();
        } else if !patient && progress.elapsed() >= context.timeout() {
            return Err(Failure::message(format!(
                "no more records came for {}, fewer are there than --count asks for, add --follow to wait for them",
                humantime::format_duration(context.timeout()),
            )));
        }
        for record in records {
            if !writer.is_full() {
                writer.write(&record)?;
            }
        }
    }
    Ok(())
}

/// Prints the records below the ends. Fails if none comes for as long as `--timeout`.
async fn read_until_end(
    context: &Context,
    consumer: &mut Consumer,
    writer: &mut RecordWriter,
    mut unread: Vec<Range>,
) -> Result<(), Failure> {
    let mut progress = Instant::now();
    while let Some(waiting_for) = unread.first() {
        let records = poll(consumer, writer).await?;
        if !records.is_empty() {
            progress = Instant::now();
        } else if progress.elapsed() >= context.timeout() {
            return Err(Failure::message(format!(
                "no records of partition {} for {}, its high watermark is {} but nothing comes, look at `quorate topic describe`",
                waiting_for.partition,
                humantime::format_duration(context.timeout()),
                waiting_for.end
            )));
        }
        for record in records {
            let range = unread.iter().find(|range| range.partition == record.partition);
            if range.is_some_and(|range| record.offset < range.end) {
                writer.write(&record)?;
            }
        }
        unread.retain(|range| consumer.position(range.partition).is_none_or(|position| position < range.end));
    }
    Ok(())
}

/// The next records. What is written already is flushed before a wait, so that a reader sees it.
async fn poll(consumer: &mut Consumer, writer: &mut RecordWriter) -> Result<Vec<ConsumedRecord>, Failure> {
    let polled = consumer.poll(POLL_WAIT);
    tokio::pin!(polled);
    if let std::task::Poll::Ready(records) = futures::poll!(&mut polled) {
        return Ok(records?);
    }
    writer.flush()?;
    Ok(polled.await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_output_is_json_records_and_nothing_else() {
        let text = || Some(RecordFormat::values());
        assert_eq!(record_format(Format::Json, None).ok(), Some(RecordFormat::Json));
        assert_eq!(record_format(Format::Table, None).ok(), text());
        assert_eq!(record_format(Format::Table, Some(RecordFormat::Json)).ok(), Some(RecordFormat::Json));
        assert!(matches!(record_format(Format::Json, text()), Err(Failure::Usage(_))));
    }
}
