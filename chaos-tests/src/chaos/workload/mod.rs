//! Clients at work: producers, consumers, members of a group, writers under a condition, readers of offsets, and somebody who
//! creates and deletes topics. Each writes down what it does; some of them crash.
//!
//! Not here: producers that are not idempotent, which the client library does not offer.

mod churn;
mod conditional;
pub(super) mod consumers;
mod ends;
pub(super) mod groups;
mod mortal;
mod producers;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::{cluster::partitions, defects::Defects, options::TOPICS};
use crate::history::{PartitionKey, Recorder};

/// Processes are numbered: producers from 0, the others from here.
const CONDITIONAL_FROM: u32 = 50;
const CONSUMERS_FROM: u32 = 100;
const END_READERS_FROM: u32 = 200;
/// The process that reads all back.
pub(super) const DRAIN: u32 = 300;
/// The process that reads the files of the nodes.
pub(super) const FILES: u32 = 400;
/// The process that injects faults.
pub(super) const FAULTS: u32 = 410;

const CONSUMERS_PER_TOPIC: u32 = 2;
const END_READERS: u32 = 2;
const CONDITIONAL: u32 = 2;
/// Of each, one after the other takes the next number.
const MEMBERS_FROM: u32 = 1_000_000;
const CRASHING_FROM: u32 = 2_000_000;
const NUMBERS_EACH: u32 = 100_000;
const MEMBERS: u32 = 3;
const GROUP_READER: u32 = 250;
const CHURN: u32 = 260;
const CRASHING_DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls other than sends are bounded by this.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A client that is told to stop does so within its timeouts, of which none is longer.
const STOP_MAX: Duration = Duration::from_secs(20);

/// Whether a process is a producer that lives as long as the run, and sends without a condition: what it sends is to be
/// acknowledged.
pub(super) fn is_lasting_producer(process: u32) -> bool {
    (process as usize) < producers::DELIVERY_TIMEOUTS.len()
}

/// What every process has.
#[derive(Clone, Debug)]
struct Process {
    number: u32,
    seed: u64,
    servers: String,
    recorder: Arc<Recorder>,
    defects: Arc<Defects>,
    stopped: watch::Receiver<bool>,
}

/// Clients at work.
#[derive(Debug)]
pub(super) struct Workload {
    defects: Arc<Defects>,
    stop_sending: watch::Sender<bool>,
    stop_reading: watch::Sender<bool>,
    producers: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
}

impl Workload {
    /// Starts all clients.
    ///
    /// # Errors
    /// If one of them cannot be built.
    pub(super) async fn start(
        seed: u64,
        servers: &str,
        recorder: &Arc<Recorder>,
        defects: &Arc<Defects>,
    ) -> Result<Self, String> {
        let (stop_sending, sending) = watch::channel(false);
        let (stop_reading, reading) = watch::channel(false);
        let process = |number: u32, stopped: &watch::Receiver<bool>| Process {
            number,
            seed,
            servers: servers.to_owned(),
            recorder: Arc::clone(recorder),
            defects: Arc::clone(defects),
            stopped: stopped.clone(),
        };
        let mut workload = Self {
            defects: Arc::clone(defects),
            stop_sending,
            stop_reading,
            producers: Vec::new(),
            readers: Vec::new(),
        };
        for (number, delivery_timeout) in (0..).zip(producers::DELIVERY_TIMEOUTS) {
            let task = producers::start(process(number, &sending), delivery_timeout).await?;
            workload.producers.push(task);
        }
        workload.producers.push(producers::start_crashing(process(CRASHING_FROM, &sending), CRASHING_DELIVERY_TIMEOUT));
        for number in 0..CONDITIONAL {
            workload.producers.push(conditional::start(process(CONDITIONAL_FROM + number, &sending)).await?);
        }
        workload.producers.push(churn::start(process(CHURN, &sending)).await?);
        for number in 0..MEMBERS {
            workload.readers.push(groups::start(process(MEMBERS_FROM + NUMBERS_EACH * number, &reading)).await?);
        }
        workload.readers.push(groups::start_reader(process(GROUP_READER, &reading)).await?);
        for topic in 0..TOPICS.len() as u32 {
            for at in 0..CONSUMERS_PER_TOPIC {
                let process = process(CONSUMERS_FROM + topic * CONSUMERS_PER_TOPIC + at, &reading);
                workload.readers.push(consumers::start(process, topic, at > 0).await?);
            }
        }
        for number in 0..END_READERS {
            workload.readers.push(ends::start(process(END_READERS_FROM + number, &reading)).await?);
        }
        Ok(workload)
    }

    /// Stops the producers, and returns when the end of every send is known.
    pub(super) async fn stop_sending(&mut self) {
        self.stop_sending.send_replace(true);
        let longest = producers::DELIVERY_TIMEOUTS.into_iter().max().unwrap_or_default();
        join(&mut self.producers, longest + STOP_MAX, "a producer", &self.defects).await;
    }

    /// Stops the others.
    pub(super) async fn stop_reading(mut self) {
        self.stop_reading.send_replace(true);
        join(&mut self.readers, STOP_MAX, "a consumer or reader of end offsets", &self.defects).await;
    }
}

/// A run that ends early stops its clients.
impl Drop for Workload {
    fn drop(&mut self) {
        self.producers.iter().chain(&self.readers).for_each(JoinHandle::abort);
    }
}

async fn join(tasks: &mut Vec<JoinHandle<()>>, within: Duration, what: &str, defects: &Defects) {
    let deadline = Instant::now() + within;
    for mut task in tasks.drain(..) {
        match timeout_at(deadline, &mut task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => defects.add(format!("{what} of the workload broke: {error}")),
            Err(_) => {
                task.abort();
                defects.add(format!("{what} was told to stop and did not within {within:?}: a call hangs"));
            }
        }
    }
}

/// The partitions of a topic.
fn partitions_of(topic: u32) -> impl Iterator<Item = PartitionKey> {
    partitions().filter(move |partition| partition.topic == topic)
}
