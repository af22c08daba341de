//! `quorate produce`

mod input;
mod meter;
mod tracker;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use bytesize::ByteSize;
use clap::Args;
use quorate::{Client, Compression, Header, Producer, ProducerRecord, Record};
use quorate_cluster_config::limits::RECORD_BYTES_MAX;
use serde::Serialize;

use self::input::Input;
use self::meter::Meter;
use self::tracker::{Sender, Summary};
use crate::args::{self, TopicArg};
use crate::context::Context;
use crate::error::{Failure, note};
use crate::interrupt::interrupted;
use crate::lines::LineSplitter;
use crate::output::{Format, View, count};

#[derive(Debug, Args)]
#[command(after_help = "\
A record is a line: its bytes up to, and without, \\n. Nothing else is changed, so an empty line is an empty \
value and \\r stays. Input is streamed. At the end, what was acknowledged is told on stderr, or with \
--output json as an object on stdout. If a record fails, so does the command (exit code 1), and the line on \
stderr says how many records were acknowledged before. --timeout bounds the delivery of each record.

Examples:
  echo hello | quorate produce orders
  quorate produce orders --file events.txt --key-separator : --compression zstd
  quorate produce orders --header source=import --header run=7 < orders.txt")]
pub(crate) struct ProduceArgs {
    #[command(flatten)]
    topic: TopicArg,
    /// Append to this partition only [default: by key; without a key, spread evenly]
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    /// Split each line at the first C into key and value; a line without it has no key
    #[arg(long, value_name = "C", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key_separator: Option<String>,
    /// Give each record this header; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = header)]
    header: Vec<Header>,
    /// Read from this file instead of stdin; `-` is stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Compress batches with none, lz4 or zstd
    #[arg(long, value_name = "CODEC", default_value_t = Compression::None)]
    compression: Compression,
    /// The size of a full batch, before compression
    #[arg(long, value_name = "SIZE", value_parser = args::size, default_value = "256KiB")]
    batch_size: ByteSize,
    /// How long a batch waits for more records
    #[arg(long, value_name = "DURATION", value_parser = args::duration, default_value = "5ms")]
    linger: Duration,
}

/// How a line becomes a record.
struct Shape<'a> {
    /// What ends the key.
    separator: Option<&'a [u8]>,
    headers: &'a [Header],
}

/// `KEY=VALUE`; without `=`, a header without a value.
fn header(text: &str) -> Result<Header, String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(Bytes::copy_from_slice(value.as_bytes()))),
        None => (text, None),
    };
    if key.is_empty() {
        return Err("write it like KEY=VALUE".to_owned());
    }
    Ok(Header { key: key.to_owned(), value })
}

#[derive(Serialize)]
struct ProducedView {
    records: u64,
    bytes: u64,
    seconds: f64,
    last_offsets: std::collections::BTreeMap<u32, u64>,
}

pub(crate) async fn run(context: &Context, args: ProduceArgs) -> Result<(), Failure> {
    if args.linger >= context.timeout() {
        return Err(Failure::Usage(format!(
            "--linger is {}, but must be below the delivery timeout, {}, raise --timeout or lower --linger",
            humantime::format_duration(args.linger),
            humantime::format_duration(context.timeout())
        )));
    }
    let input = Input::open(args.file.as_deref())?;
    let client = context.connect().await?;
    let producer = build(context, &client, &args).await?;
    let began = Instant::now();
    let (mut sender, acknowledged) = tracker::start();
    let shape = Shape { separator: args.key_separator.as_deref().map(str::as_bytes), headers: &args.header };
    let meter = Meter::start(context.format, acknowledged.counts());
    let fed = tokio::select! {
        biased;
        interrupted = interrupted() => interrupted.and(Err(Failure::message("interrupted"))),
        () = acknowledged.failed() => Ok(()),
        fed = feed(input, &shape, &producer, &mut sender) => fed,
    };
    drop(sender);
    // Errors of deliveries reach us through the tracker, which knows how many went well before.
    let context = context.renewed();
    let summary = context.within("delivering the last records", async {
        let _ = producer.close().await;
        acknowledged.summary().await
    });
    let summary = summary.await?;
    drop(meter);
    report(&context, began.elapsed(), summary, fed)
}

async fn build(context: &Context, client: &Client, args: &ProduceArgs) -> Result<Producer, Failure> {
    let building = client
        .producer(&args.topic.topic)
        .partition(args.partition)
        .compression(args.compression)
        .batch_bytes(usize::try_from(args.batch_size.as_u64()).unwrap_or(usize::MAX))
        .linger(args.linger)
        .delivery_timeout(context.timeout())
        .build();
    context.within("setting up the producer", building).await
}

/// Sends every line of the input, and ends at the first one that cannot be sent.
async fn feed(mut input: Input, shape: &Shape<'_>, producer: &Producer, sender: &mut Sender) -> Result<(), Failure> {
    let mut lines = LineSplitter::new(RECORD_BYTES_MAX + shape.separator.map_or(0, <[u8]>::len));
    while let Some(chunk) = input.next().await? {
        lines.push(chunk);
        while let Some(line) = lines.next_line().map_err(|refused| {
            Failure::message(format!(
                "line {} of {} is longer than a record may be, {RECORD_BYTES_MAX} bytes, split it or store a reference",
                refused.number,
                input.name()
            ))
        })? {
            send(line, shape, producer, sender, &lines, &input).await?;
        }
    }
    match lines.finish() {
        Some(line) => send(line, shape, producer, sender, &lines, &input).await,
        None => Ok(()),
    }
}

async fn send(
    line: Bytes,
    shape: &Shape<'_>,
    producer: &Producer,
    sender: &mut Sender,
    lines: &LineSplitter,
    input: &Input,
) -> Result<(), Failure> {
    let (key, value) = split_key(line, shape.separator);
    let bytes = key.as_ref().map_or(0, Bytes::len) + value.len();
    let record = Record { key, value: Some(value), headers: shape.headers.to_vec(), timestamp_ms: now_ms() };
    let delivery = producer.send(ProducerRecord { partition: None, record }).await.map_err(|error| Failure::Line {
        number: lines.lines(),
        input: input.name().to_owned(),
        source: Box::new(error),
    })?;
    sender.track(delivery, bytes as u64).await;
    Ok(())
}

/// The key is what stands before the first separator.
fn split_key(mut line: Bytes, separator: Option<&[u8]>) -> (Option<Bytes>, Bytes) {
    let found = separator.and_then(|separator| {
        let start = line.windows(separator.len()).position(|window| window == separator)?;
        Some((start, separator.len()))
    });
    match found {
        Some((start, length)) => {
            let key = line.split_to(start);
            (Some(key), line.slice(length..))
        }
        None => (None, line),
    }
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

fn report(context: &Context, took: Duration, summary: Summary, fed: Result<(), Failure>) -> Result<(), Failure> {
    let acknowledged = summary.records;
    let view = ProducedView {
        records: acknowledged,
        bytes: summary.bytes,
        seconds: took.as_secs_f64(),
        last_offsets: summary.last_offsets,
    };
    let ended = match summary.failure {
        Some(failure) => Err(failure.into()),
        None => fed,
    };
    match context.format {
        Format::Json => context.show(&view)?,
        Format::Table if ended.is_ok() => note(&view.text()),
        Format::Table => {}
    }
    ended.map_err(|failure| Failure::Partial { acknowledged, source: Box::new(failure) })
}

impl View for ProducedView {
    fn text(&self) -> String {
        let rate = if self.seconds > 0.0 { self.bytes as f64 / 1e6 / self.seconds } else { 0.0 };
        let (records, bytes) = (count(self.records, "record"), count(self.bytes, "byte"));
        format!("{records}, {bytes} in {:.3} s ({rate:.1} MB/s)", self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &'static [u8], separator: Option<&str>) -> (Option<&'static [u8]>, &'static [u8]) {
        let (key, value) = split_key(Bytes::from_static(line), separator.map(str::as_bytes));
        (key.map(|key| key.to_vec().leak() as &[u8]), value.to_vec().leak())
    }

    #[test]
    fn the_first_separator_ends_the_key() {
        assert_eq!(split(b"k:v:w", Some(":")), (Some(&b"k"[..]), &b"v:w"[..]));
        assert_eq!(split(b"k=>v", Some("=>")), (Some(&b"k"[..]), &b"v"[..]));
        assert_eq!(split(b":", Some(":")), (Some(&b""[..]), &b""[..]));
    }

    #[test]
    fn a_header_has_a_key_and_may_have_a_value() {
        let read = |text| header(text).map(|header| (header.key, header.value.map(|value| value.to_vec())));
        assert_eq!(read("source=a=b"), Ok(("source".to_owned(), Some(b"a=b".to_vec()))));
        assert_eq!(read("flag"), Ok(("flag".to_owned(), None)));
        assert_eq!(read("empty="), Ok(("empty".to_owned(), Some(Vec::new()))));
        assert!(read("=value").is_err() && read("").is_err());
    }

    #[test]
    fn a_line_without_separator_is_a_value() {
        assert_eq!(split(b"value", Some(":")), (None, &b"value"[..]));
        assert_eq!(split(b"k:v", None), (None, &b"k:v"[..]));
        assert_eq!(split(b"", Some("::")), (None, &b""[..]));
    }
}
