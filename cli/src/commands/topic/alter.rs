//! `quorate topic alter`

use std::time::{Duration, Instant};

use bytesize::ByteSize;
use clap::Args;
use quorate::{Client, ClusterInfo, ConsumedRecord, Position, Tasks, TopicAlteration, TopicId, TopicInfo};
use serde::Serialize;

use crate::args::{self, Limit, TopicArg};
use crate::confirm;
use crate::context::Context;
use crate::error::Failure;
use crate::output::{View, count, milliseconds};
use crate::progress::{follow, unfinished};

/// Between two looks at the replicas.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long records may take to come when they are looked at for keys.
const LOOK_AT_KEYS: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(after_help = "\
What is not given stays as it is. Partitions are only ever added: records of a key that come after that may go to another \
partition than those before, so that their order is lost; where records have keys, the command asks first. Replicas are \
added and dropped one after the other while producers and consumers go on; the command waits for that, and if it is \
interrupted, it goes on.

Examples:
  quorate topic alter orders --retention-time 30d --retention-size unlimited
  quorate topic alter orders --replication-factor 5
  quorate topic alter orders --partitions 12 --yes")]
pub(crate) struct AlterArgs {
    #[command(flatten)]
    topic: TopicArg,
    /// The number of partitions: no fewer than there are
    #[arg(long, value_name = "N")]
    partitions: Option<u32>,
    /// The number of nodes that hold each partition
    #[arg(long, value_name = "N")]
    replication_factor: Option<u32>,
    /// How long records are kept
    #[arg(long, value_name = "DURATION|unlimited", value_parser = args::duration_limit)]
    retention_time: Option<Limit<Duration>>,
    /// How much each partition keeps, on every node that holds it
    #[arg(long, value_name = "SIZE|unlimited", value_parser = args::size_limit)]
    retention_size: Option<Limit<ByteSize>>,
    /// Do not ask; required for more partitions where nobody can be asked and records have keys
    #[arg(long)]
    yes: bool,
    /// How long to wait until replicas are added; 0s not to wait
    #[arg(long, value_name = "DURATION", value_parser = args::duration, default_value = "1h")]
    wait: Duration,
}

#[derive(Serialize)]
struct AlteredView {
    name: String,
    partitions: u32,
    replication_factor: u32,
    /// None is unlimited.
    retention_time_ms: Option<u64>,
    /// Of a partition; none is unlimited.
    retention_bytes: Option<u64>,
    /// Whether all replicas are where they are to be.
    done: bool,
}

pub(crate) async fn run(context: &Context, args: AlterArgs) -> Result<(), Failure> {
    let alteration = args.alteration()?;
    let client = context.connect().await?;
    let name = &args.topic.topic;
    let before = context.within("looking up the topic", client.topic(name)).await?;
    let more = args.partitions.filter(|partitions| *partitions > before.config.partitions);
    if let Some(partitions) = more.filter(|_| !args.yes)
        && context.within("looking for keys", has_keys(&client, &before)).await?
    {
        let question = format!(
            "Records of topic {name} have keys. With {partitions} partitions instead of {}, new records of a key may go to another \
             partition than old ones. Go on?",
            before.config.partitions
        );
        confirm::ask(&question, &format!("topic {name} was not altered"))?;
    }
    let context = context.renewed();
    context.within("altering the topic", client.alter_topic(name, &alteration)).await?;
    let done = match args.replication_factor {
        Some(factor) => wait_for_replicas(&context, &client, &args, before.id, factor).await?,
        None => true,
    };
    let after = context.renewed().within("looking up the topic", client.topic(name)).await?;
    context.show(&AlteredView {
        name: name.to_string(),
        partitions: after.config.partitions,
        replication_factor: after.config.replication_factor,
        retention_time_ms: after.config.retention_time.map(milliseconds),
        retention_bytes: after.config.retention_bytes,
        done,
    })
}

/// Waits until each partition has as many replicas as it is to have; tells whether that is so.
async fn wait_for_replicas(
    context: &Context,
    client: &Client,
    args: &AlterArgs,
    topic: TopicId,
    factor: u32,
) -> Result<bool, Failure> {
    let name = &args.topic.topic;
    let until = Instant::now().checked_add(args.wait);
    loop {
        let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        let idle = |tasks: &Tasks, _: &ClusterInfo| tasks.moves.iter().all(|info| info.topic != topic);
        let followed = follow(context, client, left, idle).await?;
        let info = context.renewed().within("looking up the topic", client.topic(name)).await?;
        // Between the decision and the first move nothing is on the way.
        let all = info.partitions.iter().all(|partition| partition.replicas.len() == factor as usize);
        if followed.done && all {
            return Ok(true);
        }
        if left <= LOOK_INTERVAL {
            return match args.wait.is_zero() {
                true => Ok(false),
                false => Err(unfinished(&format!("the change of topic {name}"), args.wait, followed)),
            };
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Whether any of the first or the last records of the topic's partitions has a key.
async fn has_keys(client: &Client, topic: &TopicInfo) -> Result<bool, quorate::Error> {
    let mut consumer = client.consumer(&topic.name).from(Position::First).build().await?;
    let keyed = |records: Vec<ConsumedRecord>| records.iter().any(|record| record.record.key.is_some());
    if keyed(consumer.poll(LOOK_AT_KEYS).await?) {
        return Ok(true);
    }
    for (partition, end) in consumer.end_offsets().await? {
        consumer.seek(partition, Position::Offset(end.saturating_sub(1))).await?;
    }
    Ok(keyed(consumer.poll(LOOK_AT_KEYS).await?))
}

impl AlterArgs {
    fn alteration(&self) -> Result<TopicAlteration, Failure> {
        let mut alteration = TopicAlteration::default();
        if let Some(partitions) = self.partitions {
            alteration = alteration.partitions(partitions);
        }
        if let Some(factor) = self.replication_factor {
            alteration = alteration.replication_factor(factor);
        }
        if let Some(Limit(time)) = self.retention_time {
            alteration = alteration.retention_time(time);
        }
        if let Some(Limit(size)) = self.retention_size {
            alteration = alteration.retention_bytes(size.map(|size| size.as_u64()));
        }
        if alteration == TopicAlteration::default() {
            return Err(Failure::Usage("nothing is to be altered, say what, as in --retention-time 30d".to_owned()));
        }
        Ok(alteration)
    }
}

impl View for AlteredView {
    fn text(&self) -> String {
        let partitions = count(self.partitions.into(), "partition");
        let replicas = count(self.replication_factor.into(), "replica");
        let on_the_way = if self.done { "" } else { "; replicas are on the way, see `quorate cluster tasks`" };
        format!("topic {} has {partitions} of {replicas}{on_the_way}", self.name)
    }
}
