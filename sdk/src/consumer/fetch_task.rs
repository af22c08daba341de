//! The task that reads one partition ahead of its consumer.

use std::{sync::Arc, time::Duration};

use quorate_cluster_config::{PartitionIndex, TopicId};
use quorate_protocol::{ErrorCode, FetchRequest, OffsetQuery};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{builder::FetchSettings, chunk::Chunk};
use crate::{backoff::Backoff, client::Client, error::Error};

/// What fetches sent ahead may hold per partition: one that waits to be polled and one on its way.
const FETCHES_AHEAD: usize = 2;

/// What a fetch task hands to its consumer.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) partition: PartitionIndex,
    /// Which of the partition's successive tasks fetched it: others' chunks are out of date.
    pub(super) generation: u64,
    /// After an error the task has ended.
    pub(super) outcome: Result<Chunk, Error>,
    /// Lets the task fetch on once the chunk is polled.
    pub(super) _ahead: Option<OwnedSemaphorePermit>,
}

/// Reads one partition from `offset` on.
#[derive(Debug)]
pub(super) struct FetchTask {
    pub(super) client: Client,
    pub(super) topic: TopicId,
    pub(super) partition: PartitionIndex,
    pub(super) generation: u64,
    pub(super) offset: u64,
    pub(super) settings: FetchSettings,
    /// Bounds the fetches of all partitions of the consumer.
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) fetched: mpsc::Sender<Fetched>,
}

impl FetchTask {
    /// Runs until an error, or until the consumer is gone.
    pub(super) async fn run(mut self) {
        let ahead = Arc::new(Semaphore::new(FETCHES_AHEAD));
        let mut backoff = Backoff::default();
        while let Ok(permit) = Arc::clone(&ahead).acquire_owned().await {
            let outcome = loop {
                match self.fetch().await {
                    Ok(chunk) if chunk.is_empty() => {}
                    Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => {
                        match self.explain_out_of_range(error).await {
                            Some(error) => break Err(error),
                            None => tokio::time::sleep(backoff.next()).await,
                        }
                    }
                    outcome => break outcome,
                }
            };
            backoff.reset();
            let ended = outcome.is_err();
            if let Ok(chunk) = &outcome {
                self.offset = chunk.next_offset();
            }
            let fetched =
                Fetched { partition: self.partition, generation: self.generation, outcome, _ahead: Some(permit) };
            if self.fetched.send(fetched).await.is_err() || ended {
                return;
            }
        }
    }

    async fn fetch(&self) -> Result<Chunk, Error> {
        let Self { topic, partition, offset, settings, .. } = *self;
        let _permit = self.in_flight.acquire().await;
        let mut call = self.client.call(format!("read partition {partition} at offset {offset}"));
        call.timeout += settings.max_wait;
        call.wait = settings.max_wait;
        let request = FetchRequest {
            topic,
            partition,
            offset,
            max_bytes: settings.bytes as u32,
            min_bytes: 1,
            max_wait: settings.max_wait,
        };
        let router = self.client.router();
        let asked = router.call_leader(topic, partition, call, |api, context| {
            let request = request.clone();
            async move { api.fetch(context, request).await }
        });
        Chunk::check(partition, offset, asked.await?.batches)
    }

    /// A leader just elected may not know yet how far the partition is committed. The offsets it gives are
    /// linearizable, so they decide: `None` if the offset is within them.
    async fn explain_out_of_range(&self, error: Error) -> Option<Error> {
        let Self { topic, partition, offset, .. } = *self;
        let first = self.client.partition_offset(topic, partition, OffsetQuery::First).await;
        let last = self.client.partition_offset(topic, partition, OffsetQuery::Last).await;
        match (first, last) {
            (Ok(first), Ok(last)) if (first..=last).contains(&offset) => None,
            (Ok(first), Ok(last)) => Some(Error::Refused {
                action: format!("read partition {partition} at offset {offset}"),
                code: ErrorCode::OffsetOutOfRange,
                message: format!(
                    "it holds offsets from {first} to before {last}; seek to one of them, or to its first"
                ),
                outcome_unknown: false,
            }),
            _ => Some(error),
        }
    }
}

/// Divides the time nodes may hold fetches, so that a round over more partitions than can be asked at once takes no
/// longer.
pub(super) fn divided_wait(max_wait: Duration, partition_count: usize, in_flight_max: usize) -> Duration {
    let rounds = partition_count.div_ceil(in_flight_max).max(1);
    max_wait / u32::try_from(rounds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_divided_only_among_more_partitions_than_are_asked_at_once() {
        let wait = Duration::from_millis(500);
        assert_eq!(divided_wait(wait, 0, 128), wait);
        assert_eq!(divided_wait(wait, 128, 128), wait);
        assert_eq!(divided_wait(wait, 129, 128), wait / 2);
        assert_eq!(divided_wait(wait, 1000, 128), wait / 8);
    }
}
