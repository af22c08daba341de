//! Counts records by key in SQLite; the database says where to go on: `pipeline [FILE]`.

use std::{path::PathBuf, time::Duration};

use quorate::{Record, TopicName};
use quorate_cookbook::{Error, create_topic, pipeline::Pipeline, setup, unix_time_ms};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let setup = setup().await?;
    let topic = TopicName::parse("page-views")?;
    create_topic(&setup.client, &topic, 3).await?;
    let producer = setup.client.producer(&topic).build().await?;
    for number in 0..300 {
        let key = ["home", "search", "cart"][number % 3];
        drop(producer.send(Record::new(number.to_string(), unix_time_ms()).with_key(key).into()).await?);
    }
    producer.close().await?;

    // A database of its own is gone when this ends.
    let own = tempfile::tempdir()?;
    let path = std::env::args().nth(1).map_or_else(|| own.path().join("counts.sqlite"), PathBuf::from);
    let mut pipeline = Pipeline::open(&setup.client, &topic, &path).await?;
    let mut taken = 0;
    loop {
        match pipeline.step(Duration::from_secs(1)).await? {
            0 => break,
            records => taken += records,
        }
    }
    println!("{taken} records taken in, in {}", path.display());
    for key in ["home", "search", "cart"] {
        println!("{key}: {}", pipeline.count(key)?);
    }
    Ok(())
}
