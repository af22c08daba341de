//! Each job is done, also while nodes are killed and the program starts anew.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use futures::{StreamExt, future::join_all};
use quorate::{Client, Header, NodeId, Position, Record, TopicName};
use quorate_cookbook::{
    audit_trail::{self, Known, Verified},
    bridge::{Bridge, SOURCE_OFFSET},
    create_topic,
    event_sourcing::{Accounts, Refused},
    fan_out,
    pipeline::Pipeline,
};
use quorate_testing::Cluster;

fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

async fn append(client: &Client, to: &TopicName, values: std::ops::Range<u32>) {
    let producer = client.producer(to).build().await.unwrap();
    for value in values {
        let record = Record::new(value.to_string(), 0).with_key((value % 7).to_string());
        drop(producer.send(record.into()).await.unwrap());
    }
    producer.close().await.unwrap();
}

/// Cuts the power of the node that leads the first partition.
async fn kill_leader(cluster: &mut Cluster, client: &Client, of: &TopicName) {
    let NodeId(leader) = client.topic(of).await.unwrap().partitions[0].leader.unwrap();
    cluster.kill(u16::try_from(leader).unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_never_overdrawn_whoever_decides_at_the_same_time() {
    let mut cluster = Cluster::start(3).await.unwrap();
    let client = cluster.client().await.unwrap();
    let events = topic("account-events");
    create_topic(&client, &events, 1).await.unwrap();
    Accounts::open(&client, &events, 0).await.unwrap().deposit("alice", 500).await.unwrap();
    // Eight tellers want 100 each, and a node dies meanwhile.
    let teller = || {
        let (client, events) = (client.clone(), events.clone());
        tokio::spawn(async move {
            let mut accounts = Accounts::open(&client, &events, 0).await.unwrap();
            accounts.withdraw("alice", 100).await
        })
    };
    let tellers: Vec<_> = (0..8).map(|_| teller()).collect();
    kill_leader(&mut cluster, &client, &events).await;
    let outcomes: Vec<_> = join_all(tellers).await.into_iter().map(Result::unwrap).collect();
    let paid = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(paid, 5, "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(()) | Err(Refused::Overdrawn { cents: 0, .. }))));
    assert_eq!(Accounts::open(&client, &events, 0).await.unwrap().balance("alice"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_is_intact_until_somebody_writes_what_does_not_fit() {
    let mut cluster = Cluster::start(3).await.unwrap();
    let client = cluster.client().await.unwrap();
    let audit = topic("audit");
    create_topic(&client, &audit, 1).await.unwrap();
    assert_eq!(
        audit_trail::verify(&client, &audit, None).await.unwrap(),
        Verified::Intact { entries: 0, last: [0; 32] }
    );
    // Several write at the same time, and a node dies meanwhile: the chain stays one.
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (client, audit) = (client.clone(), audit.clone());
            tokio::spawn(
                async move { audit_trail::append(&client, &audit, &format!("entry of {writer}")).await.unwrap() },
            )
        })
        .collect();
    kill_leader(&mut cluster, &client, &audit).await;
    let written: Vec<_> = join_all(writers).await.into_iter().map(Result::unwrap).collect();
    let last = written.iter().max_by_key(|(offset, _)| *offset).unwrap().1;
    let (offset, hash) = *written.iter().find(|(offset, _)| *offset == 1).unwrap();
    let kept = Some(Known { offset, hash });
    assert_eq!(audit_trail::verify(&client, &audit, kept).await.unwrap(), Verified::Intact { entries: 3, last });
    let other = Some(Known { offset: 0, hash });
    assert_eq!(audit_trail::verify(&client, &audit, other).await.unwrap(), Verified::Replaced);
    assert_eq!(audit_trail::unhex(&audit_trail::hex(&hash)).unwrap(), hash);
    assert!(audit_trail::unhex("12").is_err());
    let mut forged = Record::new("nobody signed in", 0);
    forged.headers.push(Header { key: audit_trail::CHAIN.to_owned(), value: Some(last.to_vec().into()) });
    let producer = client.producer(&audit).build().await.unwrap();
    producer.send(forged.into()).await.unwrap().await.unwrap();
    assert_eq!(audit_trail::verify(&client, &audit, None).await.unwrap(), Verified::Broken { offset: 3 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_counts_each_record_once_however_often_it_is_started_anew() {
    let mut cluster = Cluster::start(3).await.unwrap();
    let client = cluster.client().await.unwrap();
    let views = topic("page-views");
    create_topic(&client, &views, 3).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("counts.sqlite");
    for round in 0..5 {
        append(&client, &views, 70 * round..70 * round + 70).await;
        let mut pipeline = Pipeline::open(&client, &views, &path).await.unwrap();
        // It is dropped after a step, wherever it stands.
        pipeline.step(Duration::from_secs(5)).await.unwrap();
        if round == 2 {
            cluster.kill(2).unwrap();
        }
    }
    let mut pipeline = Pipeline::open(&client, &views, &path).await.unwrap();
    let all = |pipeline: &Pipeline| (0..7).all(|key| pipeline.count(&key.to_string()).unwrap() >= 50);
    for _ in 0..30 {
        if all(&pipeline) {
            break;
        }
        pipeline.step(Duration::from_secs(1)).await.unwrap();
    }
    // There is no more to take in.
    assert_eq!(pipeline.step(Duration::from_secs(1)).await.unwrap(), 0);
    for key in 0..7 {
        assert_eq!(pipeline.count(&key.to_string()).unwrap(), 50, "key {key}");
    }
    assert_eq!(pipeline.count("nobody").unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_get_what_is_written_while_they_listen() {
    let mut cluster = Cluster::start(3).await.unwrap();
    let client = cluster.client().await.unwrap();
    let prices = topic("prices");
    create_topic(&client, &prices, 1).await.unwrap();
    append(&client, &prices, 0..3).await;
    let served = fan_out::serve(&client, &prices, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("ws://{}", served.address);
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(tokio_tungstenite::connect_async(&url).await.unwrap().0);
    }
    append(&client, &prices, 3..5).await;
    kill_leader(&mut cluster, &client, &prices).await;
    append(&client, &prices, 5..6).await;
    for socket in &mut sockets {
        for value in 3..6 {
            let message = socket.next().await.unwrap().unwrap().into_text().unwrap();
            let message: serde_json::Value = serde_json::from_str(&message).unwrap();
            assert_eq!((&message["offset"], &message["value"]), (&value.into(), &value.to_string().into()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_does_not_read_is_left_behind_and_holds_up_nobody() {
    const RECORDS: u32 = 3_000;
    let cluster = Cluster::start(1).await.unwrap();
    let client = cluster.client().await.unwrap();
    let prices = topic("prices");
    let config = quorate::TopicConfig { replication_factor: 1, ..quorate::TopicConfig::default() };
    client.create_topic(&prices, config).await.unwrap();
    let served = fan_out::serve(&client, &prices, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("ws://{}", served.address);
    let (mut quick, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    let (mut slow, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    // Far more than sockets hold, and never more ahead than a subscriber may be behind.
    let producer = client.producer(&prices).build().await.unwrap();
    for _ in 0..RECORDS / 500 {
        for _ in 0..500 {
            drop(producer.send(Record::new(vec![b'x'; 20_000], 0).into()).await.unwrap());
        }
        producer.flush().await.unwrap();
        for _ in 0..500 {
            assert!(quick.next().await.unwrap().unwrap().is_text());
        }
    }
    let mut taken = 0;
    while let Some(Ok(message)) = slow.next().await {
        taken += u32::from(message.is_text());
    }
    assert!(taken < RECORDS, "the slow one got all of {RECORDS}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_copies_each_record_once_also_if_there_are_two() {
    let mut cluster = Cluster::start(3).await.unwrap();
    let client = cluster.client().await.unwrap();
    let (from, to) = (topic("orders"), topic("archive/orders"));
    for topic in [&from, &to] {
        create_topic(&client, topic, 1).await.unwrap();
    }
    append(&client, &from, 0..2_500).await;
    let bridge = Bridge { source: (client.clone(), from.clone()), destination: (client.clone(), to.clone()) };
    let (one, other, ()) = tokio::join!(bridge.copy(0), bridge.copy(0), kill_leader(&mut cluster, &client, &to));
    assert!(one.unwrap() + other.unwrap() <= 2_500, "a batch whose answer was lost is counted by neither");
    append(&client, &from, 2_500..2_600).await;
    assert_eq!((bridge.copy(0).await.unwrap(), bridge.copy(0).await.unwrap()), (100, 0));
    let mut copies = client.consumer(&to).until(Position::Last).build().await.unwrap();
    let mut expected = 0_u64;
    while let Some(copy) = copies.next().await {
        let copy = copy.unwrap();
        assert_eq!(copy.record.value.as_deref(), Some(expected.to_string().as_bytes()));
        assert_eq!(copy.record.headers[0].key, SOURCE_OFFSET);
        expected += 1;
    }
    assert_eq!(expected, 2_600);
}
