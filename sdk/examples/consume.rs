//! Prints the records of topic `example` from its beginning to where it ends now.
//!
//! ```sh
//! cargo run -p quorate --example consume -- --server 127.0.0.1:7101
//! ```
//! Run the `produce` example first. `QUORATE_SERVER` works in place of `--server`.

mod common;

use std::time::Duration;

use quorate::Position;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = common::connect().await?;
    let mut consumer = client.consumer(&"example".parse()?).from(Position::First).build().await?;
    let ends = consumer.end_offsets().await?;
    let is_done = |consumer: &quorate::Consumer| {
        ends.iter().all(|(partition, end)| consumer.position(*partition).is_some_and(|position| position >= *end))
    };
    while !is_done(&consumer) {
        for record in consumer.poll(Duration::from_secs(1)).await? {
            let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
            let (key, value) = (text(record.record.key.as_deref()), text(record.record.value.as_deref()));
            println!("{}@{} {key}: {value}", record.partition, record.offset);
        }
    }
    Ok(())
}
