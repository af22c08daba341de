//! Copies a topic to another one, twice: the second time there is nothing left to copy.

use quorate::{Record, TopicName};
use quorate_cookbook::{Error, bridge::Bridge, create_topic, setup, unix_time_ms};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let setup = setup().await?;
    let (from, to) = (TopicName::parse("orders")?, TopicName::parse("archive/orders")?);
    for topic in [&from, &to] {
        create_topic(&setup.client, topic, 2).await?;
    }
    let producer = setup.client.producer(&from).build().await?;
    for number in 0..100 {
        let record = Record::new(number.to_string(), unix_time_ms()).with_key(number.to_string());
        drop(producer.send(record.into()).await?);
    }
    producer.close().await?;
    let bridge = Bridge { source: (setup.client.clone(), from), destination: (setup.client.clone(), to) };
    for round in ["at first", "again"] {
        for partition in 0..2 {
            println!("{round}: {} records of partition {partition} copied", bridge.copy(partition).await?);
        }
    }
    Ok(())
}
