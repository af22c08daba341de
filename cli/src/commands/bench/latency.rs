//! `quorate bench latency`

use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use quorate::{Client, TopicInfo};
use quorate_cluster_config::TopicName;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::acks::{Measured, acks};
use super::load::{Load, Produced, Share};
use super::report::{Report, Workload};
use super::schedule::Schedule;
use super::topic::{FreshTopic, with_topic};
use crate::args;
use crate::context::Context;
use crate::error::{Failure, warn};

/// Below this part of the rate that was asked for, the run says so.
const RATE_KEPT: f64 = 0.99;
/// Beyond it, deadlines could overflow.
const WARM_UP_MAX: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Args)]
#[command(after_help = "\
With --rate, records are due at fixed times, in bursts of at most half a millisecond's worth, whether or not those \
before them were acknowledged. A latency counts from the time a record was due to its acknowledgement: where the cluster \
or this program falls behind, that is seen in full. If it does not catch up within twice the time, the command fails.

With --one-at-a-time, each record is sent when the one before it was acknowledged, without linger: what a \
program sees that waits for each of its writes. Records go to the topic's partitions in turn.

What is sent during --warm-up is not measured.

Examples:
  quorate bench latency --rate 50000
  quorate bench latency --rate 200 --linger 0ms --seconds 30 --output json
  quorate bench latency --one-at-a-time --partitions 1")]
#[command(group = ArgGroup::new("pace").required(true).args(["rate", "one_at_a_time"]))]
pub(crate) struct LatencyArgs {
    /// Records a second over all producers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rate: Option<u64>,
    /// Keep exactly one record on its way
    #[arg(long, conflicts_with_all = ["producers", "in_flight", "batch_size", "linger"])]
    one_at_a_time: bool,
    /// How long to measure
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How long to send before that
    #[arg(long, value_name = "DURATION", value_parser = args::duration, default_value = "1s")]
    warm_up: Duration,
    /// Append to this existing topic [default: a fresh one, deleted at the end]
    #[arg(long, value_name = "NAME", conflicts_with = "fresh")]
    topic: Option<TopicName>,
    #[command(flatten)]
    fresh: FreshTopic,
    #[command(flatten)]
    load: Load,
}

impl LatencyArgs {
    fn measured(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn whole(&self) -> Duration {
        self.warm_up + self.measured()
    }
}

pub(crate) async fn run(context: &Context, args: LatencyArgs) -> Result<(), Failure> {
    if args.warm_up > WARM_UP_MAX {
        return Err(Failure::Usage("--warm-up must be at most 1day".to_owned()));
    }
    let client = context.connect().await?;
    let report = with_topic(context, &client, args.topic.as_ref(), &args.fresh, async |info| {
        let (name, produced) = match args.rate {
            Some(rate) => ("latency", at_rate(context, &client, info, rate, &args).await?),
            None => ("one-at-a-time", one_at_a_time(context, &client, info, &args).await?),
        };
        if produced.messages == 0 {
            return Err(Failure::message("no record was due in that time, choose more --seconds or a higher --rate"));
        }
        let workload = Workload {
            name,
            messages: produced.messages,
            bytes: produced.bytes,
            partitions: info.config.partitions,
            replicas: info.config.replication_factor,
        };
        Ok(Report::new(workload, produced.took, Some(&produced.latencies)))
    });
    let report = report.await?;
    if let Some(rate) = args.rate.map(|rate| rate as f64)
        && report.messages_per_s() < RATE_KEPT * rate
    {
        warn(&format!("{:.0} records/s were acknowledged, fewer than asked for", report.messages_per_s()));
    }
    context.show(&report)
}

async fn at_rate(
    context: &Context,
    client: &Client,
    info: &TopicInfo,
    rate: u64,
    args: &LatencyArgs,
) -> Result<Produced, Failure> {
    let shares = args.load.shares(context, client, info).await?;
    let began = Instant::now();
    let schedule = Schedule::new(began, rate, args.whole());
    let from = began + args.warm_up;
    let give_up = began + 2 * args.whole();
    let ticks = schedule.start()?;
    let mut running = JoinSet::new();
    for share in shares {
        running.spawn(keep_rate(share, schedule, ticks.clone(), from, give_up));
    }
    drop(ticks);
    Ok(args.load.produced(Measured::gather(running).await?, from))
}

async fn keep_rate(
    mut share: Share,
    schedule: Schedule,
    mut ticks: watch::Receiver<u64>,
    from: Instant,
    give_up: Instant,
) -> Result<Measured, Failure> {
    let (outbox, acks) = acks(share.partitions(), from);
    let sending = async move {
        let mut told = None;
        let numbers = (share.task.into()..schedule.messages).step_by(share.tasks.max(1) as usize);
        for (own, number) in (0..).zip(numbers) {
            let tick = schedule.tick_of(number);
            if told.is_none_or(|told| told < tick) {
                // Fails only if the thread that tells them is gone before its time.
                let heard = ticks.wait_for(|told| *told >= tick).await;
                told = Some(*heard.map_err(|_| Failure::message("the schedule stopped, try again"))?);
            }
            let now = Instant::now();
            if now > give_up {
                let (rate, all) = (schedule.rate(), schedule.messages);
                return Err(Failure::message(format!(
                    "the cluster does not take {rate} records/s: after twice the time {number} of {all} were sent, choose a lower --rate"
                )));
            }
            if !share.send(own, now, schedule.at(tick), &outbox).await? {
                break;
            }
        }
        drop(outbox);
        share.close().await;
        Ok(())
    };
    let ((), measured) = tokio::try_join!(sending, acks.measure())?;
    Ok(measured)
}

async fn one_at_a_time(
    context: &Context,
    client: &Client,
    info: &TopicInfo,
    args: &LatencyArgs,
) -> Result<Produced, Failure> {
    let load = args.load.one_at_a_time();
    let shares = load.shares(context, client, info).await?;
    let began = Instant::now();
    let (from, end) = (began + args.warm_up, began + args.whole());
    // A task, so that it runs where the client's own tasks do.
    let mut running = JoinSet::new();
    for mut share in shares {
        running.spawn(async move {
            let mut measured = Measured::nothing()?;
            for number in 0.. {
                let sent = Instant::now();
                if sent >= end {
                    break;
                }
                share.send_and_wait(number, sent).await?;
                if sent >= from {
                    measured.note(sent, Instant::now());
                }
            }
            share.close().await;
            Ok(measured)
        });
    }
    Ok(load.produced(Measured::gather(running).await?, from))
}
