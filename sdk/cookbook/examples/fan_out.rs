//! Two subscribers over WebSocket get what is written while they listen.

use futures::StreamExt;
use quorate::{Record, TopicName};
use quorate_cookbook::{Error, create_topic, fan_out::serve, setup, unix_time_ms};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let setup = setup().await?;
    let topic = TopicName::parse("prices")?;
    create_topic(&setup.client, &topic, 1).await?;
    let served = serve(&setup.client, &topic, "127.0.0.1:0".parse()?).await?;
    println!("ws://{}", served.address);

    let url = format!("ws://{}", served.address);
    let (mut one, _) = tokio_tungstenite::connect_async(&url).await?;
    let (mut other, _) = tokio_tungstenite::connect_async(&url).await?;
    let producer = setup.client.producer(&topic).build().await?;
    for price in ["101", "102", "99"] {
        producer.send(Record::new(price, unix_time_ms()).with_key("tea").into()).await?.await?;
        let (first, second) = (one.next().await.ok_or("closed")??, other.next().await.ok_or("closed")??);
        println!("{first}\n{second}");
    }
    Ok(())
}
