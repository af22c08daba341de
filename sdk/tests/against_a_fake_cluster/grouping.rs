//! Members of consumer groups.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use quorate::{
    Client, CommitMode, ErrorCode, GroupConsumer, GroupState, Name, OnTruncated, PartitionId, Position, ProducerRecord,
    RebalanceEvent, Record, TopicConfig,
};

use crate::cluster::{FakeCluster, orders};

const WAIT: Duration = Duration::from_millis(100);

fn billing() -> Name {
    Name::parse("billing").unwrap()
}

async fn member(client: &Client, mode: CommitMode) -> GroupConsumer {
    let builder = client.group_consumer(&billing(), [orders()]).commit_mode(mode).max_wait(Duration::from_millis(20));
    builder.build().await.unwrap()
}

/// Appends so many records to each partition.
async fn fill(client: &Client, partitions: u32, records: u64) {
    let producer = client.producer(&orders()).build().await.unwrap();
    for number in 0..records {
        for partition in 0..partitions {
            let record = ProducerRecord { partition: Some(partition), record: Record::new(number.to_string(), 7) };
            drop(producer.send(record).await.unwrap());
        }
    }
    producer.close().await.unwrap();
}

async fn poll_until(member: &mut GroupConsumer, count: usize) -> Vec<(u32, u64)> {
    let mut polled = Vec::new();
    while polled.len() < count {
        polled.extend(member.poll(WAIT).await.unwrap().iter().map(|record| (record.partition, record.offset)));
    }
    polled
}

async fn committed(client: &Client) -> Vec<(u32, u64)> {
    let group = client.group(&billing()).await.unwrap();
    group.committed.iter().map(|(partition, committed)| (partition.index, committed.offset)).collect()
}

#[tokio::test]
async fn members_share_the_partitions_and_what_one_has_processed_the_next_does_not_get() {
    let cluster = FakeCluster::start(1, 4).await;
    let client = cluster.client().await;
    fill(&client, 4, 3).await;
    let mut first = member(&client, CommitMode::AfterProcessing).await;
    assert_eq!(poll_until(&mut first, 12).await.len(), 12);
    assert_eq!(first.assignment().len(), 4);
    let mut second = member(&client, CommitMode::AfterProcessing).await;
    assert!(second.poll(WAIT).await.unwrap().is_empty(), "the first one has not given anything up");
    while first.assignment().len() + second.assignment().len() != 4 || second.assignment().is_empty() {
        assert!(first.poll(WAIT).await.unwrap().is_empty(), "it goes on where it was");
        assert!(second.poll(WAIT).await.unwrap().is_empty(), "all was committed before it was given up");
    }
    assert_eq!(committed(&client).await, [(0, 3), (1, 3), (2, 3), (3, 3)]);
    assert_eq!(client.group(&billing()).await.unwrap().state, GroupState::Stable);
    second.close().await.unwrap();
    while first.assignment().len() < 4 {
        assert!(first.poll(WAIT).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_was_handed_out_and_not_processed_is_not_committed() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    fill(&client, 1, 5).await;
    let mut first = member(&client, CommitMode::Interval(Duration::ZERO)).await;
    {
        let records = first.stream();
        futures::pin_mut!(records);
        // The third is asked for, so that two were processed.
        for _ in 0..3 {
            records.next().await.unwrap().unwrap();
        }
    }
    // It is closed as it stands: nothing that is not processed may be committed.
    first.close().await.unwrap();
    assert_eq!(committed(&client).await, [(0, 2)]);
    let mut second = member(&client, CommitMode::Interval(Duration::ZERO)).await;
    assert_eq!(poll_until(&mut second, 3).await, [(0, 2), (0, 3), (0, 4)]);
    second.commit().await.unwrap();
    second.close().await.unwrap();
    assert_eq!(committed(&client).await, [(0, 5)], "it said that it is done");
}

#[tokio::test]
async fn a_stream_that_is_dropped_loses_no_record() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    fill(&client, 1, 6).await;
    let mut member = member(&client, CommitMode::Manual).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let records = member.stream();
        futures::pin_mut!(records);
        seen.push(records.next().await.unwrap().unwrap().offset);
    }
    seen.extend(poll_until(&mut member, 3).await.iter().map(|(_, offset)| offset));
    assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
    assert!(committed(&client).await.is_empty());
    member.commit().await.unwrap();
    assert_eq!(committed(&client).await, [(0, 6)]);
}

#[tokio::test]
async fn a_member_that_was_given_up_says_what_it_has_lost_and_joins_anew() {
    let cluster = FakeCluster::start(1, 2).await;
    let client = cluster.client().await;
    fill(&client, 2, 1).await;
    let events: Arc<Mutex<Vec<RebalanceEvent>>> = Arc::default();
    let told = Arc::clone(&events);
    let builder = client.group_consumer(&billing(), [orders()]).commit_mode(CommitMode::Manual);
    let builder = builder.on_rebalance(move |event| told.lock().unwrap().push(event.clone()));
    let mut member = builder.max_wait(Duration::from_millis(20)).build().await.unwrap();
    poll_until(&mut member, 2).await;
    let before = member.member().unwrap();
    cluster.expel(&billing(), before);
    // It is read again, since nothing was committed.
    poll_until(&mut member, 2).await;
    assert_ne!(member.member().unwrap(), before);
    let all: Vec<PartitionId> = member.assignment();
    let events = events.lock().unwrap();
    assert_eq!(
        events[..],
        [RebalanceEvent::Assigned(all.clone()), RebalanceEvent::Lost(all.clone()), RebalanceEvent::Assigned(all)]
    );
}

#[tokio::test]
async fn a_member_whose_coordinator_is_silent_stops_reading_when_its_session_is_over() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    let builder = client.group_consumer(&billing(), [orders()]).session_timeout(Duration::from_secs(1));
    let mut member = builder.max_wait(Duration::from_millis(20)).build().await.unwrap();
    member.poll(WAIT).await.unwrap();
    assert_eq!(member.assignment().len(), 1);
    cluster.state().groups.deaf = true;
    let mut lost = false;
    for _ in 0..40 {
        lost |= member.poll(WAIT).await.is_err() || member.assignment().is_empty();
        if lost {
            break;
        }
    }
    assert!(lost, "another one may read it by now");
}

#[tokio::test]
async fn new_partitions_are_read_and_a_commit_that_fails_is_made_up_for() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    fill(&client, 1, 2).await;
    let mut member = member(&client, CommitMode::Interval(Duration::ZERO)).await;
    cluster.state().groups.refuse_commits = vec![ErrorCode::MemberFenced];
    poll_until(&mut member, 2).await;
    while committed(&client).await != [(0, 2)] {
        member.poll(Duration::from_millis(10)).await.unwrap();
    }
    assert!(cluster.state().groups.commits >= 2);
}

#[tokio::test]
async fn a_committed_offset_whose_record_was_deleted_is_reported_or_skipped_as_asked() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    fill(&client, 1, 10).await;
    let partition = PartitionId { topic: client.topic(&orders()).await.unwrap().id, index: 0 };
    client.reset_group(&billing(), &[(partition, Some(2))]).await.unwrap();
    client.trim(&orders(), 0, 6).await.unwrap();
    let with =
        |policy| client.group_consumer(&billing(), [orders()]).commit_mode(CommitMode::Manual).on_truncated(policy);
    let mut strict = with(OnTruncated::Error).build().await.unwrap();
    let error = loop {
        match strict.poll(Duration::from_secs(5)).await {
            Ok(records) => assert!(records.is_empty()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange), "{error}");
    strict.close().await.unwrap();
    let mut first = with(OnTruncated::First).build().await.unwrap();
    assert_eq!(poll_until(&mut first, 4).await[0], (0, 6));
    first.close().await.unwrap();
    let mut last = with(OnTruncated::Last).max_wait(Duration::from_millis(20)).build().await.unwrap();
    while last.position(partition) != Some(10) {
        assert!(last.poll(WAIT).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_comes_between_two_members_that_begin_at_the_end_is_not_skipped() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    fill(&client, 1, 2).await;
    let at_end =
        || client.group_consumer(&billing(), [orders()]).from(Position::Last).max_wait(Duration::from_millis(20));
    let mut first = at_end().build().await.unwrap();
    assert!(first.poll(WAIT).await.unwrap().is_empty());
    first.close().await.unwrap();
    fill(&client, 1, 3).await;
    let mut second = at_end().build().await.unwrap();
    assert_eq!(poll_until(&mut second, 3).await, [(0, 2), (0, 3), (0, 4)]);
}

#[tokio::test]
async fn a_member_seeks_before_anything_is_handed_out_of_what_it_takes_up() {
    let cluster = FakeCluster::start(1, 2).await;
    let client = cluster.client().await;
    fill(&client, 2, 5).await;
    let mut member = member(&client, CommitMode::Manual).await;
    while member.assignment().is_empty() {
        assert!(member.poll(WAIT).await.unwrap().is_empty());
    }
    for partition in member.assignment() {
        member.seek(partition, Position::Offset(4)).await.unwrap();
    }
    assert!(poll_until(&mut member, 2).await.iter().all(|(_, offset)| *offset == 4));
}

#[tokio::test]
async fn members_seek_and_pause_and_know_their_lag() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    fill(&client, 1, 4).await;
    let builder = client.group_consumer(&billing(), [orders()]).from(Position::Last).commit_mode(CommitMode::Manual);
    let mut member = builder.max_wait(Duration::from_millis(20)).build().await.unwrap();
    assert!(member.poll(WAIT).await.unwrap().is_empty());
    let partition = member.assignment()[0];
    assert_eq!(member.lag().await.unwrap()[&partition].records, 0);
    member.seek(partition, Position::Offset(1)).await.unwrap();
    let lag = member.lag().await.unwrap()[&partition];
    assert!(lag.records == 3 && lag.time > Duration::from_secs(3_600), "timestamps are of 1970: {lag:?}");
    member.pause(partition).unwrap();
    assert!(member.poll(WAIT).await.unwrap().is_empty());
    member.resume(partition).unwrap();
    assert_eq!(poll_until(&mut member, 3).await, [(0, 1), (0, 2), (0, 3)]);
    let elsewhere = PartitionId { index: 7, ..partition };
    assert_eq!(member.pause(elsewhere).unwrap_err().code(), Some(ErrorCode::UnknownPartition));
    assert!(member.seek(elsewhere, Position::First).await.is_err());
}

#[tokio::test]
async fn groups_are_listed_reset_and_deleted() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    fill(&client, 1, 3).await;
    assert_eq!(client.group(&billing()).await.unwrap_err().code(), Some(ErrorCode::UnknownGroup));
    let mut member = member(&client, CommitMode::AfterProcessing).await;
    poll_until(&mut member, 3).await;
    assert!(member.poll(WAIT).await.unwrap().is_empty());
    let partition = member.assignment()[0];
    let refused = client.reset_group(&billing(), &[(partition, Some(0))]).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::GroupNotEmpty), "{refused}");
    member.close().await.unwrap();
    let names: BTreeSet<Name> = client.groups().await.unwrap().into_iter().map(|group| group.name).collect();
    assert_eq!(names, BTreeSet::from([billing()]));
    client.reset_group(&billing(), &[(partition, Some(1))]).await.unwrap();
    assert_eq!(committed(&client).await, [(0, 1)]);
    client.delete_group(&billing()).await.unwrap();
    assert_eq!(client.delete_group(&billing()).await.unwrap_err().code(), Some(ErrorCode::UnknownGroup));
}

#[tokio::test]
async fn settings_beyond_their_bounds_are_refused_before_anything_is_sent() {
    let cluster = FakeCluster::start(1, 1).await;
    let client = cluster.client().await;
    let group = || client.group_consumer(&billing(), [orders()]);
    for (builder, word) in [
        (client.group_consumer(&billing(), []), "topics"),
        (group().session_timeout(Duration::ZERO), "session_timeout"),
        (group().rebalance_timeout(Duration::MAX), "rebalance_timeout"),
        (group().client_name("x".repeat(250)), "client_name"),
        (group().fetch_bytes(0), "fetch_bytes"),
    ] {
        let error = builder.build().await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert!(client.groups().await.unwrap().is_empty());
    assert_eq!(TopicConfig::default().partitions, 1);
}
