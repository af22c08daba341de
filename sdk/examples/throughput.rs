//! Appends records of 1 KiB as fast as one producer with its default settings can, for five seconds, and prints the rate.
//!
//! ```sh
//! cargo run --release -p quorate --example throughput -- --server 127.0.0.1:7101
//! ```
//! The topic is created if it does not exist. `QUORATE_SERVER` works in place of `--server`.

mod common;

use std::time::{Duration, Instant};

use quorate::Record;

const RUN: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = common::connect().await?;
    let topic = common::topic(&client, "throughput", 3).await?;
    let producer = client.producer(&topic.name).build().await?;
    let value = bytes::Bytes::from(vec![b'x'; 1024]);
    let began = Instant::now();
    let mut records = 0_u64;
    while began.elapsed() < RUN {
        // Waits while the buffer is full: no more is under way than it holds.
        drop(producer.send(Record::new(value.clone(), common::now_ms()).into()).await?);
        records += 1;
    }
    // Every record is on stable storage of a majority then, or this fails.
    producer.close().await?;
    let seconds = began.elapsed().as_secs_f64();
    let mb = records as f64 * 1024.0 / 1e6;
    println!(
        "{records} records in {seconds:.1} s: {:.0} MB/s, {:.0} records/s",
        mb / seconds,
        records as f64 / seconds
    );
    Ok(())
}
