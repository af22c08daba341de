//! Keeps appending numbers to topic `exactly-once` for half a minute, while you kill leaders, and then proves that
//! each acknowledged number is in the log once and in order.
//!
//! ```sh
//! quorate local start --nodes 3
//! cargo run -p quorate --example exactly_once -- --server 127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103
//! quorate local kill 1      # in another terminal, while it runs: the leader it prints
//! ```
//! `QUORATE_SERVER` works in place of `--server`. There is nothing about retries in this file: the producer keeps id,
//! epoch and sequence of each batch, so a batch whose answer was lost in the change of leaders is recognised.

mod common;

use std::time::{Duration, Instant};

use quorate::{Position, Record};

const RUN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = common::connect().await?;
    let topic = common::topic(&client, "exactly-once", 1).await?;
    let mut consumer = client.consumer(&topic.name).from(Position::Last).build().await?;
    // Longer than any election: until then the outcome of a batch is not given up.
    let producer = client.producer(&topic.name).delivery_timeout(Duration::from_secs(60)).build().await?;

    let begun = Instant::now();
    let mut reported = begun;
    let (mut sent, mut duplicates, mut leader) = (0u64, 0u64, None);
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < RUN {
        let sent_at = Instant::now();
        let metadata = producer.send(Record::new(sent.to_string(), common::now_ms()).into()).await?.await?;
        slowest = slowest.max(sent_at.elapsed());
        duplicates += u64::from(metadata.duplicate);
        sent += 1;
        if reported.elapsed() > Duration::from_secs(1) {
            reported = Instant::now();
            if let Ok(topic) = client.topic(&topic.name).await {
                let now = topic.partitions.first().and_then(|partition| partition.leader);
                if now.is_some() && now != leader {
                    leader = now;
                    println!("led by node {}", now.unwrap_or_default());
                }
            }
            println!("{sent} appended, slowest {slowest:.1?}, {duplicates} answers were lost and recovered");
        }
        tokio::time::sleep(PAUSE).await;
    }
    producer.close().await?;

    let mut expected = 0u64;
    while expected < sent {
        let records = consumer.poll(Duration::from_secs(5)).await?;
        if records.is_empty() {
            return Err(format!("only {expected} of {sent} acknowledged numbers are in the log").into());
        }
        for record in records {
            let value = String::from_utf8_lossy(record.record.value.as_deref().unwrap_or_default()).into_owned();
            if value != expected.to_string() {
                return Err(format!("offset {} holds {value}, expected {expected}", record.offset).into());
            }
            expected += 1;
        }
    }
    println!("all {sent} numbers are in the log, each once and in order");
    Ok(())
}
