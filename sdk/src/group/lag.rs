//! How far a reader is behind.

use std::time::Duration;

use quorate_cluster_config::PartitionId;
use quorate_protocol::{FetchRequest, OffsetQuery, QuorateApiClient, ServeFrom};
use quorate_record::{BatchHeader, split_batches};

use crate::{client::Client, error::Error, time::unix_time_ms};

/// How far a reader of a partition is behind its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The records from its offset on.
    pub records: u64,
    /// How old the batch of the first of them is, by its newest timestamp and this machine's clock; zero if there is none.
    pub time: Duration,
}

impl Client {
    /// How far a reader is behind that goes on at `offset`. An offset whose records were deleted counts as the first there is.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if the partition has no leader in time; [`Error::Refused`] if the topic is gone.
    pub async fn lag(&self, partition: PartitionId, offset: u64) -> Result<Lag, Error> {
        let end = self.partition_offset(partition, OffsetQuery::Last).await?;
        let offset = offset.max(self.partition_offset(partition, OffsetQuery::First).await?);
        if offset >= end {
            return Ok(Lag { records: 0, time: Duration::ZERO });
        }
        let newest_ms = self.newest_time_at(partition, offset).await?;
        let age_ms = newest_ms.map_or(0, |newest_ms| unix_time_ms().saturating_sub(newest_ms).max(0));
        Ok(Lag { records: end - offset, time: Duration::from_millis(age_ms.unsigned_abs()) })
    }

    /// The newest timestamp in the batch that holds an offset.
    async fn newest_time_at(&self, partition: PartitionId, offset: u64) -> Result<Option<i64>, Error> {
        let call = self.call(format!("read {} at offset {offset}", self.router().topology().place(partition)));
        let PartitionId { topic, index: partition } = partition;
        let request = FetchRequest {
            topic,
            partition,
            offset,
            max_bytes: 1,
            min_bytes: 0,
            max_wait: Duration::ZERO,
            serve_from: ServeFrom::Leader,
        };
        let fetch = |api: QuorateApiClient, context| {
            let request = request.clone();
            async move { api.fetch(context, request).await }
        };
        let fetched = self.router().call_leader(topic, partition, call, fetch).await?;
        let first = split_batches(fetched.batches.into_bytes()).next();
        Ok(first
            .and_then(Result::ok)
            .and_then(|batch| BatchHeader::parse(&batch).ok())
            .map(|header| header.max_timestamp))
    }
}
