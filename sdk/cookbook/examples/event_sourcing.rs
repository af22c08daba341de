//! Two tellers work on the same accounts at the same time, and none of them overdraws one.

use quorate::TopicName;
use quorate_cookbook::{Error, create_topic, event_sourcing::Accounts, setup};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let setup = setup().await?;
    let topic = TopicName::parse("account-events")?;
    create_topic(&setup.client, &topic, 1).await?;
    let mut teller = Accounts::open(&setup.client, &topic, 0).await?;
    teller.deposit("alice", 10_000).await?;
    println!("alice has {} cents", teller.balance("alice"));

    let mut other = Accounts::open(&setup.client, &topic, 0).await?;
    let (one, two) = tokio::join!(teller.withdraw("alice", 6_000), other.withdraw("alice", 6_000));
    println!("one teller: {}", one.map_or_else(|why| why.to_string(), |()| "paid".to_owned()));
    println!("the other:  {}", two.map_or_else(|why| why.to_string(), |()| "paid".to_owned()));

    let replayed = Accounts::open(&setup.client, &topic, 0).await?;
    println!("alice has {} cents, by replay", replayed.balance("alice"));
    Ok(())
}
