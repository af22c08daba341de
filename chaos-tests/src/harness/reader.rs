//! A consumer that reads along while a cluster is changed, and sees every record once and in order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use quorate::{Consumer, Position, TopicName};
use tokio::{sync::Notify, task::JoinHandle};

use super::{Cluster, Consumed, Journal, Summary, check};

const POLL_WAIT: Duration = Duration::from_millis(200);
/// How long it may take to read the rest once producing has ended.
const REST_MAX: Duration = Duration::from_secs(30);

/// A consumer at work.
#[derive(Debug)]
pub struct Reader {
    ending: Arc<Notify>,
    task: JoinHandle<Result<Vec<Consumed>, String>>,
}

impl Reader {
    /// Reads a topic from its first records on.
    ///
    /// # Panics
    /// If the consumer cannot be built.
    pub async fn start(cluster: &Cluster, topic: &TopicName) -> Self {
        let consumer = cluster.client().await.consumer(topic).from(Position::First).build().await;
        let consumer = consumer.unwrap_or_else(|error| panic!("{error}"));
        let ending = Arc::new(Notify::new());
        let task = tokio::spawn(read(consumer, ending.clone()));
        Self { ending, task }
    }

    /// Reads to the end and checks that all of it is what was acknowledged, once and in order, in the order in which it
    /// came.
    ///
    /// # Panics
    /// If reading failed at any time, the rest does not come, or what came is not that.
    pub async fn finish(self, what: &str, journal: &Journal) -> Summary {
        self.ending.notify_one();
        let read = self.task.await.unwrap_or_else(|error| panic!("{what}: the consumer stopped: {error}"));
        let consumed = read.unwrap_or_else(|error| panic!("{what}: {error}"));
        check(&journal.acknowledged(), &consumed)
            .unwrap_or_else(|violation| panic!("{what}, reading along: {violation}"))
    }
}

async fn read(mut consumer: Consumer, ending: Arc<Notify>) -> Result<Vec<Consumed>, String> {
    let mut records = Vec::new();
    let mut poll = async |consumer: &mut Consumer| {
        let polled = consumer.poll(POLL_WAIT).await.map_err(|error| format!("the consumer failed: {error}"))?;
        records.extend(polled.into_iter().map(|consumed| Consumed {
            partition: consumed.partition,
            offset: consumed.offset,
            value: consumed.record.value.unwrap_or_default(),
        }));
        Ok::<_, String>(())
    };
    let ended = ending.notified();
    let mut ended = std::pin::pin!(ended);
    while futures::future::poll_immediate(&mut ended).await.is_none() {
        poll(&mut consumer).await?;
    }
    let ends = consumer.end_offsets().await.map_err(|error| error.to_string())?;
    let deadline = Instant::now() + REST_MAX;
    while ends.iter().any(|(partition, end)| consumer.position(*partition).is_none_or(|position| position < *end)) {
        if Instant::now() >= deadline {
            return Err(format!("the rest was not read within {REST_MAX:?}: {consumer:?}"));
        }
        poll(&mut consumer).await?;
    }
    Ok(records)
}
