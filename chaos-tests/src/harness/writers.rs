//! Producers that write records which can be told apart, and write down what became of each.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use quorate::{Producer, ProducerRecord, Record, TopicName};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use super::{Acknowledged, Cluster, check, until};

/// Each producer sends a record this often.
const PACE: Duration = Duration::from_millis(3);
const PROGRESS_MAX: Duration = Duration::from_secs(30);

/// What became of one record.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The producer that sent it.
    pub writer: u32,
    /// Its number among that producer's records, from 0.
    pub number: u64,
    /// The partition it was sent to.
    pub partition: u32,
    /// Its offset, or why there is none.
    pub outcome: Result<u64, String>,
    /// When that was known.
    pub at: Instant,
}

/// What became of all records so far.
#[derive(Debug, Default)]
pub struct Journal {
    /// In the order in which outcomes arrived.
    pub entries: Vec<Entry>,
}

/// Producers at work.
#[derive(Debug)]
pub struct Writers {
    journal: Arc<Mutex<Journal>>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writers {
    /// Starts producers, each with a client of its own and turning round all partitions. `first` is the number of the
    /// first of them.
    ///
    /// # Panics
    /// If one cannot be built.
    pub async fn start(cluster: &Cluster, topic: &TopicName, first: u32, count: u32, partitions: u32) -> Self {
        let journal = Arc::new(Mutex::new(Journal::default()));
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Vec::new();
        for writer in first..first + count {
            let producer = cluster.client().await.producer(topic).build().await;
            let producer = producer.unwrap_or_else(|error| panic!("{error}"));
            let (journal, stopped) = (journal.clone(), stopped.clone());
            tasks.push(tokio::spawn(write(producer, writer, partitions, journal, stopped)));
        }
        Self { journal, stop, tasks }
    }

    /// Waits until each partition has acknowledged `count` records since then; returns how long it took from now.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn wait_for_acknowledged(&self, since: Instant, partitions: u32, count: usize) -> Duration {
        let acknowledged = async || {
            let counts = lock(&self.journal).acknowledged_since(since, partitions);
            if counts.iter().all(|acknowledged| *acknowledged >= count) { Ok(()) } else { Err(format!("{counts:?}")) }
        };
        until(&format!("each partition has acknowledged {count} records"), PROGRESS_MAX, acknowledged).await.1
    }

    /// Waits until no record has been acknowledged for this long.
    ///
    /// # Panics
    /// If acknowledgements go on.
    pub async fn wait_for_silence(&self, silence: Duration) {
        let silent = async || {
            let last =
                lock(&self.journal).entries.iter().filter(|entry| entry.outcome.is_ok()).map(|entry| entry.at).max();
            match last.map(|last| last.elapsed()) {
                Some(elapsed) if elapsed < silence => Err(format!("the last acknowledgement came {elapsed:?} ago")),
                _ => Ok(()),
            }
        };
        until("acknowledgements cease", silence + PROGRESS_MAX / 3, silent).await;
    }

    /// Stops the producers and waits until the outcome of every record is known.
    ///
    /// # Panics
    /// If a producer panicked.
    pub async fn stop(self) -> Journal {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await.unwrap_or_else(|error| panic!("a producer stopped: {error}"));
        }
        std::mem::take(&mut lock(&self.journal))
    }
}

async fn write(
    producer: Producer,
    writer: u32,
    partitions: u32,
    journal: Arc<Mutex<Journal>>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut deliveries = JoinSet::new();
    let partitions = u64::from(partitions);
    for number in 0.. {
        tokio::select! {
            _ = pace.tick() => {}
            _ = stopped.changed() => break,
        }
        // The writers start at different partitions.
        let partition = u32::try_from((number + u64::from(writer)) % partitions).unwrap_or_default();
        let record = Record::new(check::value(writer, number), 1_700_000_000_000);
        let sent = producer.send(ProducerRecord { partition: Some(partition), record }).await;
        let journal = journal.clone();
        deliveries.spawn(async move {
            let outcome = match sent {
                Ok(delivery) => delivery.await.map(|metadata| metadata.offset),
                Err(error) => Err(error),
            };
            let outcome = outcome.map_err(|error| error.to_string());
            lock(&journal).entries.push(Entry { writer, number, partition, outcome, at: Instant::now() });
        });
    }
    // Errors are in the journal.
    let _ = producer.close().await;
    while let Some(ended) = deliveries.join_next().await {
        ended.unwrap_or_else(|error| panic!("a delivery stopped: {error}"));
    }
}

impl Journal {
    /// The acknowledged records.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        let acknowledged = |entry: &Entry| {
            let (offset, partition) = (*entry.outcome.as_ref().ok()?, entry.partition);
            Some(Acknowledged { writer: entry.writer, number: entry.number, partition, offset })
        };
        self.entries.iter().filter_map(acknowledged).collect()
    }

    /// The first record that failed, if any.
    #[must_use]
    pub fn failure(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.outcome.is_err())
    }

    fn acknowledged_since(&self, since: Instant, partitions: u32) -> Vec<usize> {
        let mut counts = vec![0; partitions as usize];
        for entry in self.entries.iter().filter(|entry| entry.outcome.is_ok() && entry.at >= since) {
            counts[entry.partition as usize] += 1;
        }
        counts
    }

    /// The longest time a partition went without an acknowledgement, by partition.
    #[must_use]
    pub fn longest_gaps(&self, partitions: u32) -> Vec<Duration> {
        let gap = |partition| {
            let of_partition = |entry: &&Entry| entry.partition == partition && entry.outcome.is_ok();
            let mut times: Vec<Instant> = self.entries.iter().filter(of_partition).map(|entry| entry.at).collect();
            times.sort();
            times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
        };
        (0..partitions).map(gap).collect()
    }
}
