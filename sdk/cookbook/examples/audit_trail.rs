//! `audit_trail`: writes some entries and verifies them. `audit_trail append TEXT` and `audit_trail verify [OFFSET HASH]` do one of
//! both, the latter against a hash that was kept.

use quorate::{Client, TopicName};
use quorate_cookbook::{
    Error,
    audit_trail::{Known, Verified, append, hex, unhex, verify},
    create_topic, setup,
};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let setup = setup().await?;
    let topic = TopicName::parse("audit")?;
    create_topic(&setup.client, &topic, 1).await?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => {
            for entry in ["alice signed in", "alice opened invoice 7", "alice paid invoice 7"] {
                write(&setup.client, &topic, entry).await?;
            }
            check(&setup.client, &topic, None).await
        }
        ["append", entry] => write(&setup.client, &topic, entry).await,
        ["verify"] => check(&setup.client, &topic, None).await,
        ["verify", offset, hash] => {
            check(&setup.client, &topic, Some(Known { offset: offset.parse()?, hash: unhex(hash)? })).await
        }
        _ => Err("usage: audit_trail [append TEXT | verify [OFFSET HASH]]".into()),
    }
}

async fn write(client: &Client, topic: &TopicName, entry: &str) -> Result<(), Error> {
    let (offset, hash) = append(client, topic, entry).await?;
    println!("{offset}  {}  {entry}", hex(&hash));
    Ok(())
}

async fn check(client: &Client, topic: &TopicName, known: Option<Known>) -> Result<(), Error> {
    match verify(client, topic, known).await? {
        Verified::Intact { entries, last } => println!("intact: {entries} entries, the last is {}", hex(&last)),
        Verified::Replaced => return Err("the trail does not hold the entry that was kept".into()),
        Verified::Broken { offset } => return Err(format!("broken at offset {offset}").into()),
    }
    Ok(())
}
