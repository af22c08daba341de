//! The task that reads one partition ahead of its consumer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use quorate_cluster_config::PartitionId;
use quorate_protocol::{ErrorCode, FetchRequest, OffsetQuery, QuorateApiClient, ServeFrom};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{builder::FetchSettings, chunk::Chunk, position::OnTruncated};
use crate::{backoff::Backoff, client::Client, error::Error, place::Place, routing::ReplicaChoice};

/// What fetches sent ahead may hold per partition: one that waits to be polled and one on its way.
const FETCHES_AHEAD: usize = 2;

/// What a fetch task hands to its consumer.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) partition: PartitionId,
    /// Which of the partition's successive tasks fetched it: others' chunks are out of date.
    pub(super) generation: u64,
    /// After an error the task has ended. An empty chunk says only where the task reads on.
    pub(super) outcome: Result<Chunk, Error>,
    /// Lets the task fetch on once the chunk is polled.
    pub(super) _ahead: Option<OwnedSemaphorePermit>,
}

/// Reads one partition from `offset` on.
#[derive(Debug)]
pub(super) struct FetchTask {
    pub(super) client: Client,
    pub(super) partition: PartitionId,
    pub(super) generation: u64,
    pub(super) offset: u64,
    /// The offset is that of the first record, and nothing was read yet.
    pub(super) at_first: bool,
    /// Which replica is asked; `None` for the leader.
    pub(super) choice: Option<ReplicaChoice>,
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
                let asked_at = Instant::now();
                match self.fetch().await {
                    Ok(chunk) if chunk.is_empty() => {
                        if self.found_nothing(asked_at) {
                            tokio::time::sleep(backoff.next()).await;
                        }
                    }
                    Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => {
                        match self.explain_out_of_range(error).await {
                            Some(outcome) => break outcome,
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
                self.at_first &= chunk.is_empty();
            }
            let fetched =
                Fetched { partition: self.partition, generation: self.generation, outcome, _ahead: Some(permit) };
            if self.fetched.send(fetched).await.is_err() || ended {
                return;
            }
        }
    }

    async fn fetch(&mut self) -> Result<Chunk, Error> {
        let Self { partition: PartitionId { topic, index: partition }, offset, settings, .. } = *self;
        let _permit = self.in_flight.acquire().await;
        let place = self.place();
        let mut call = self.client.call(format!("read {place} at offset {offset}"));
        call.timeout += settings.max_wait;
        call.wait = settings.max_wait;
        let request = FetchRequest {
            topic,
            partition,
            offset,
            max_bytes: settings.bytes as u32,
            min_bytes: 1,
            max_wait: settings.max_wait,
            serve_from: if self.choice.is_some() { ServeFrom::AnyReplica } else { ServeFrom::Leader },
        };
        let router = self.client.router();
        let fetch = |api: QuorateApiClient, context| {
            let request = request.clone();
            async move { api.fetch(context, request).await }
        };
        let response = match &mut self.choice {
            Some(choice) => router.call_replica(topic, partition, call, choice, fetch).await,
            None => router.call_leader(topic, partition, call, fetch).await,
        };
        let chunk = Chunk::check(place, offset, response?.batches.into_bytes());
        if let (Some(choice), Ok(chunk)) = (&mut self.choice, &chunk)
            && !chunk.is_empty()
        {
            choice.answered();
        }
        chunk
    }

    fn place(&self) -> Box<Place> {
        self.client.router().topology().place(self.partition)
    }

    /// There was nothing to read. Whether to pause: a leader waits for records, a follower may answer at once.
    fn found_nothing(&mut self, asked_at: Instant) -> bool {
        let now = Instant::now();
        self.choice.as_mut().is_some_and(|choice| {
            choice.returned_nothing(now);
            now.saturating_duration_since(asked_at) < self.settings.max_wait
        })
    }

    /// A leader just elected may not know yet how far the partition is committed, and a follower may be behind in what
    /// it has deleted. The offsets the leader gives are linearizable, so they decide: `None` if the offset is within
    /// them.
    async fn explain_out_of_range(&mut self, error: Error) -> Option<Result<Chunk, Error>> {
        let Self { partition: id, offset, .. } = *self;
        let first = self.client.partition_offset(id, OffsetQuery::First).await;
        let last = self.client.partition_offset(id, OffsetQuery::Last).await;
        match (first, last) {
            (Ok(first), Ok(last)) if (first..=last).contains(&offset) => {
                if let Some(choice) = &mut self.choice {
                    choice.avoid_current(Instant::now());
                }
                None
            }
            (Ok(first), Ok(_)) if self.at_first && offset < first => {
                Some(Chunk::check(self.place(), first, Bytes::new()))
            }
            (Ok(first), Ok(last)) if offset < first && self.settings.on_truncated != OnTruncated::Error => {
                let go_on = if self.settings.on_truncated == OnTruncated::First { first } else { last };
                tracing::warn!(partition = %id, offset, go_on, "records were deleted before they were read");
                Some(Chunk::check(self.place(), go_on, Bytes::new()))
            }
            (Ok(log_start_offset), Ok(end_offset)) => {
                let place = self.place().at(error.node());
                Some(Err(Error::OffsetOutOfRange { place, offset, log_start_offset, end_offset }))
            }
            _ => Some(Err(error)),
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
