//! Appends a thousand records to topic `example`, spread over its partitions by key, and prints where the last went.
//!
//! ```sh
//! cargo run -p quorate --example produce -- --server 127.0.0.1:7101
//! ```
//! The topic is created if it does not exist. `QUORATE_SERVER` works in place of `--server`.

mod common;

use quorate::{Compression, Record};

const RECORDS: u32 = 1000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = common::connect().await?;
    let topic = common::topic(&client, "example", 3).await?;
    let producer = client.producer(&topic.name).compression(Compression::Lz4).build().await?;

    let mut last = None;
    for number in 0..RECORDS {
        let record = Record::new(format!("record {number}"), common::now_ms())
            .with_key(format!("key-{}", number % 10))
            .with_header("example", "produce");
        // Waits only while the buffer is full. Errors of deliveries nobody awaits are reported by `close`.
        last = Some(producer.send(record.into()).await?);
    }
    producer.close().await?;
    if let Some(delivery) = last {
        let metadata = delivery.await?;
        println!(
            "{RECORDS} records appended; the last is at partition {}, offset {}",
            metadata.partition, metadata.offset
        );
    }
    Ok(())
}
