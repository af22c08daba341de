//! What one producer and one consumer with their default settings can do: records of 1 KiB are appended for five seconds,
//! then records of 100 bytes are appended and read back as a stream.
//!
//! ```sh
//! cargo run --release -p quorate --example throughput -- --server 127.0.0.1:7101
//! ```
//! The topics are created if they do not exist. `QUORATE_SERVER` works in place of `--server`.

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use quorate::{Client, Position, Record, TopicInfo};

const RUN: Duration = Duration::from_secs(5);
const SMALL_RECORDS: u64 = 3_000_000;
/// The unit of times in `/proc/self/stat`.
const TICKS_PER_SECOND: f64 = 100.0;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = common::connect().await?;
    let large = common::topic(&client, "throughput", 3).await?;
    let (appended, took) = append(&client, &large, 1024, |_, began| began.elapsed() < RUN).await?;
    println!("1 KiB: {}, {:.0} MB/s", rate(appended, took, "appended"), appended as f64 * 1024.0 / 1e6 / took);

    let small = common::topic(&client, "throughput-small", 3).await?;
    let (appended, took) = append(&client, &small, 100, |appended, _| appended < SMALL_RECORDS).await?;
    println!("100 B: {}", rate(appended, took, "appended"));

    let (began, processor) = (Instant::now(), processor_seconds());
    let mut records = client.consumer(&small.name).from(Position::First).until(Position::Last).build().await?;
    let mut read = 0_u64;
    while let Some(record) = records.next().await {
        read += u64::from(record?.record.value.is_some());
    }
    println!("100 B: {}", rate(read, began.elapsed().as_secs_f64(), "read"));
    if let (Some(before), Some(after)) = (processor, processor_seconds()) {
        println!("       {}", rate(read, after - before, "read, by this process's processor time,"));
    }
    Ok(())
}

/// Appends records while `more` are wanted; returns how many, and the seconds until all were on stable storage of a majority.
async fn append(
    client: &Client,
    topic: &TopicInfo,
    size: usize,
    more: impl Fn(u64, Instant) -> bool,
) -> Result<(u64, f64), Box<dyn std::error::Error>> {
    let producer = client.producer(&topic.name).build().await?;
    let value = Bytes::from(vec![b'x'; size]);
    let (began, mut appended) = (Instant::now(), 0);
    while more(appended, began) {
        // Waits while the buffer is full: no more is under way than it holds.
        drop(producer.send(Record::new(value.clone(), common::now_ms()).into()).await?);
        appended += 1;
    }
    producer.close().await?;
    Ok((appended, began.elapsed().as_secs_f64()))
}

fn rate(records: u64, seconds: f64, what: &str) -> String {
    format!("{records} records {what} in {seconds:.2} s, {:.0} records/s", records as f64 / seconds)
}

/// User and system time of this process, where there is `/proc`.
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut ticks = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Some((ticks.next()?.ok()? + ticks.next()?.ok()?) / TICKS_PER_SECOND)
}
