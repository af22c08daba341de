//! `audit_trail`: writes some entries and verifies them. `audit_trail append TEXT` and `audit_trail verify` do one of both.

use quorate::{Client, TopicName};
use quorate_cookbook::{
    Error,
    audit_trail::{Verified, append, hex, verify},
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
            check(&setup.client, &topic).await
        }
        ["append", entry] => write(&setup.client, &topic, entry).await,
        ["verify"] => check(&setup.client, &topic).await,
        _ => Err("usage: audit_trail [append TEXT | verify]".into()),
    }
}

async fn write(client: &Client, topic: &TopicName, entry: &str) -> Result<(), Error> {
    let (offset, hash) = append(client, topic, entry).await?;
    println!("{offset}  {}  {entry}", hex(&hash));
    Ok(())
}

async fn check(client: &Client, topic: &TopicName) -> Result<(), Error> {
    match verify(client, topic).await? {
        Verified::Intact { entries, last } => println!("intact: {entries} entries, the last is {}", hex(&last)),
        Verified::Broken { offset } => return Err(format!("broken at offset {offset}").into()),
    }
    Ok(())
}
