//! Members of a consumer group that come, leave and crash, and a reader of what the group has committed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use quorate::{
    Client, CommitMode, ConsumedRecord, ErrorCode, GroupConsumer, Name, PartitionId, Position, RebalanceEvent, TopicId,
};
use quorate_faulty_vfs::SplitMix64;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Process, TIMEOUT,
    consumers::{self, Overtaken},
    mortal::Mortal,
};
use crate::{
    chaos::{
        cluster::{connect, partitions, topic_name},
        options::TOPICS,
    },
    history::{Call, Outcome, PartitionKey, Read},
};

/// The group's name, and its number in histories.
const GROUP: (&str, u32) = ("auditors", 0);
const SESSION_TIMEOUT: Duration = Duration::from_secs(2);
const POLL_WAIT: Duration = Duration::from_millis(200);
const ERROR_PAUSE: Duration = Duration::from_millis(50);
/// A member lives for this long, in milliseconds.
const LIFE_MS: (u64, u64) = (2_000, 10_000);
/// Leaving includes a last commit.
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// A member that commits by hand does so once in so many polls.
const COMMIT_ONCE_IN: u64 = 4;
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The numbers of the run's topics, by id.
type Topics = Arc<HashMap<TopicId, u32>>;

async fn topics(client: &Client) -> Result<Topics, String> {
    let mut topics = HashMap::new();
    for number in 0..TOPICS.len() as u32 {
        let info = client.topic(&topic_name(number)?).await.map_err(|error| error.to_string())?;
        topics.insert(info.id, number);
    }
    Ok(Arc::new(topics))
}

fn group() -> Result<Name, String> {
    Name::parse(GROUP.0).map_err(|error| error.to_string())
}

fn key(topics: &Topics, partition: PartitionId) -> Option<PartitionKey> {
    Some(PartitionKey { topic: *topics.get(&partition.topic)?, index: partition.index })
}

/// Whether the group has read and committed all there is.
///
/// # Errors
/// How far it is behind, or why nobody says so.
pub(in crate::chaos) async fn is_at_end(client: &Client) -> Result<(), String> {
    let info = client.group(&group()?).await.map_err(|error| error.to_string())?;
    let lag = client.group_lag(&info, TIMEOUT).await;
    let topics = topics(client).await?;
    let of_run: HashMap<PartitionKey, u64> =
        lag.iter().filter_map(|(id, lag)| Some((key(&topics, *id)?, lag.records))).collect();
    for partition in partitions() {
        match of_run.get(&partition) {
            Some(0) => {}
            Some(behind) => return Err(format!("of {partition} {behind} records are not committed")),
            None => return Err(format!("nobody says how far {partition} is committed")),
        }
    }
    Ok(())
}

/// Members one after the other, each under a number of its own, that end well or by a crash.
pub(super) async fn start(process: Process) -> Result<JoinHandle<()>, String> {
    let topics = topics(&connect(&process.servers, TIMEOUT).await?).await?;
    Ok(tokio::spawn(async move {
        let mut random = SplitMix64::stream(process.seed, u64::from(process.number) + 1);
        let mut stopped = process.stopped.clone();
        for number in process.number.. {
            let process = Process { number, ..process.clone() };
            let mode = match random.below(3) {
                0 => CommitMode::AfterProcessing,
                1 => CommitMode::Interval(Duration::from_millis(300)),
                _ => CommitMode::Manual,
            };
            let life = Duration::from_millis(LIFE_MS.0 + random.below(LIFE_MS.1 - LIFE_MS.0));
            let leaves = random.chance(1, 2);
            let (leave, leaving) = watch::channel(false);
            let (done, mut left) = watch::channel(());
            let running = {
                let (process, topics) = (process.clone(), Arc::clone(&topics));
                Mortal::run(async move {
                    member(&process, &topics, mode, leaving).await;
                    drop(done);
                })
            };
            let ended = timeout(life, stopped.changed()).await;
            if leaves || ended.is_ok() {
                leave.send_replace(true);
                let _ = timeout(LEAVE_MAX, async { while left.changed().await.is_ok() {} }).await;
            }
            match running {
                Ok(running) => running.kill().await,
                Err(error) => process.defects.add(format!("a client cannot be started: {error}")),
            }
            if ended.is_ok() {
                return;
            }
        }
    }))
}

async fn member(process: &Process, topics: &Topics, mode: CommitMode, mut leaving: watch::Receiver<bool>) {
    let joining = async {
        loop {
            match join(process, topics, mode).await {
                Ok(consumer) => return consumer,
                Err(error) => {
                    tracing::debug!(error, "a member cannot join");
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
        }
    };
    let mut consumer = tokio::select! {
        consumer = joining => consumer,
        _ = leaving.changed() => return,
    };
    let mut random = SplitMix64::stream(process.seed, u64::from(process.number) + 1);
    while !*leaving.borrow() {
        let invoked_ns = process.recorder.now_ns();
        match consumer.poll(POLL_WAIT).await {
            Ok(records) => record(process, topics, invoked_ns, &records),
            Err(error) => match consumers::as_overtaken(&error) {
                Some((overtaken, offset)) => {
                    go_on(process, topics, &mut consumer, &overtaken, (invoked_ns, offset)).await
                }
                None => {
                    consumers::note_of_member(process, &error);
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            },
        }
        if mode == CommitMode::Manual && random.chance(1, COMMIT_ONCE_IN) {
            commit(process, topics, &mut consumer).await;
        }
    }
    if let Err(error) = consumer.close().await {
        tracing::debug!(%error, "a member left badly");
    }
}

/// Goes on with the first record that is left, if the member still has the partition.
async fn go_on(
    process: &Process,
    topics: &Topics,
    consumer: &mut GroupConsumer,
    overtaken: &Overtaken<'_>,
    (invoked_ns, offset): (u64, u64),
) {
    let is_it = |id: &PartitionId| {
        id.index == overtaken.index && overtaken.topic.is_none_or(|topic| consumer.topic(*id) == Some(topic))
    };
    let Some(id) = consumer.assignment().into_iter().find(is_it) else { return };
    let Some(partition) = key(topics, id) else { return };
    let call = Call::Deleted { offset, log_start: overtaken.log_start };
    process.recorder.record(process.number, partition, invoked_ns, call);
    let invoked_ns = process.recorder.now_ns();
    if consumer.seek(id, Position::Offset(overtaken.log_start)).await.is_ok() {
        let call = Call::Seek { offset: overtaken.log_start };
        process.recorder.record(process.number, partition, invoked_ns, call);
    }
}

async fn join(process: &Process, topics: &Topics, mode: CommitMode) -> Result<GroupConsumer, String> {
    let client = connect(&process.servers, TIMEOUT).await?;
    let names = (0..TOPICS.len() as u32).map(topic_name).collect::<Result<Vec<_>, _>>()?;
    let (of, known) = (process.clone(), Arc::clone(topics));
    let told = move |event: &RebalanceEvent| {
        let RebalanceEvent::Assigned(partitions) = event else { return };
        for partition in partitions.iter().filter_map(|partition| key(&known, *partition)) {
            of.recorder.record(of.number, partition, of.recorder.now_ns(), Call::Assigned { group: GROUP.1 });
        }
    };
    let builder = client.group_consumer(&group()?, names).session_timeout(SESSION_TIMEOUT).commit_mode(mode);
    builder.max_wait(POLL_WAIT).on_rebalance(told).build().await.map_err(|error| error.to_string())
}

fn record(process: &Process, topics: &Topics, invoked_ns: u64, records: &[ConsumedRecord]) {
    for of_partition in records.chunk_by(|one, other| one.id() == other.id()) {
        let Some(partition) = key(topics, of_partition[0].id()) else { continue };
        let reads: Vec<Read> = of_partition.iter().map(consumers::read).collect();
        process.recorder.record(process.number, partition, invoked_ns, Call::Poll { outcome: Outcome::Ok(reads) });
    }
}

/// Commits how far the member has come in each of its partitions.
async fn commit(process: &Process, topics: &Topics, consumer: &mut GroupConsumer) {
    let positions: Vec<(PartitionId, u64)> =
        consumer.assignment().into_iter().filter_map(|id| Some((id, consumer.position(id)?))).collect();
    let invoked_ns = process.recorder.now_ns();
    let committed = consumer.commit_offsets(&positions).await;
    for (id, offset) in positions {
        let Some(partition) = key(topics, id) else { continue };
        let outcome = match &committed {
            Ok(()) => Outcome::Ok(()),
            Err(error) if error.has_no_side_effects() => Outcome::Fail(error.to_string()),
            Err(error) => Outcome::Info(error.to_string()),
        };
        let call = Call::Commit { group: GROUP.1, offset, outcome };
        process.recorder.record(process.number, partition, invoked_ns, call);
    }
}

/// Looks again and again at what the group has committed.
pub(super) async fn start_reader(mut process: Process) -> Result<JoinHandle<()>, String> {
    let client = connect(&process.servers, TIMEOUT).await?;
    let (topics, group) = (topics(&client).await?, group()?);
    Ok(tokio::spawn(async move {
        let mut pace = interval(LOOK_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = pace.tick() => {}
                _ = process.stopped.changed() => return,
            }
            let invoked_ns = process.recorder.now_ns();
            let committed = match client.group(&group).await {
                Ok(group) => group.committed,
                // Before its first member, and if it were lost, it is at nothing.
                Err(error) if error.code() == Some(ErrorCode::UnknownGroup) => Vec::new(),
                Err(error) => {
                    tracing::debug!(%error, "nobody says what the group has committed");
                    continue;
                }
            };
            let committed: HashMap<PartitionKey, u64> =
                committed.iter().filter_map(|(id, committed)| Some((key(&topics, *id)?, committed.offset))).collect();
            for partition in partitions() {
                let outcome = Outcome::Ok(committed.get(&partition).copied());
                let call = Call::Committed { group: GROUP.1, outcome };
                process.recorder.record(process.number, partition, invoked_ns, call);
            }
        }
    }))
}
