//! Settings of a producer.

use std::{ops::RangeInclusive, time::Duration};

use quorate_cluster_config::{
    PartitionIndex, TopicName,
    limits::{BATCH_BYTES_MAX, BATCHES_IN_FLIGHT_MAX, RECORD_BYTES_MAX},
};
use quorate_record::Compression;

use super::{accumulator::Batching, handle::Producer};
use crate::{admin::require_partition, client::Client, error::Error, time::bounded};

/// Room for the batch and record overhead around one largest record.
const BUFFER_BYTES_MIN: usize = 2 * RECORD_BYTES_MAX;
/// What a semaphore takes at once.
const BUFFER_BYTES_MAX: usize = u32::MAX as usize;

/// Settings of a [`Producer`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before it is built"]
pub struct ProducerBuilder {
    client: Client,
    topic: TopicName,
    settings: Settings,
    partition: Option<PartitionIndex>,
}

/// The settings of a running producer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) batching: Batching,
    pub(super) in_flight: usize,
    pub(super) buffer_bytes: usize,
    pub(super) delivery_timeout: Duration,
}

impl ProducerBuilder {
    pub(crate) fn new(client: Client, topic: TopicName) -> Self {
        let batching =
            Batching { batch_bytes: 256 * 1024, linger: Duration::from_millis(5), compression: Compression::None };
        let settings = Settings {
            batching,
            in_flight: BATCHES_IN_FLIGHT_MAX,
            buffer_bytes: 32 * 1024 * 1024,
            delivery_timeout: Duration::from_secs(30),
        };
        Self { client, topic, settings, partition: None }
    }

    /// How long a batch waits for more records after its first. Default 5 ms. A full batch does not wait, nor does any on a flush.
    /// With a linger at or above the delivery timeout, what is neither full nor flushed fails unsent.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.settings.batching.linger = bounded(linger);
        self
    }

    /// The size of a full batch before compression, in bytes. Default 256 KiB, at most `BATCH_BYTES_MAX`. A larger
    /// record goes alone.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.settings.batching.batch_bytes = bytes;
        self
    }

    /// The codec of the batches. Default none.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.settings.batching.compression = compression;
        self
    }

    /// How many batches of a partition may be on their way at once, 1 to 5. Default 5. Order is kept with any.
    pub fn in_flight(mut self, batches: usize) -> Self {
        self.settings.in_flight = batches;
        self
    }

    /// The bytes of records that may await their acknowledgement. Default 32 MiB, at least 2 MiB.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.settings.buffer_bytes = bytes;
        self
    }

    /// How long a buffered record may take until its acknowledgement, retries included, and how long `send` waits for
    /// room in the buffer. Default 30 s.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.settings.delivery_timeout = bounded(timeout);
        self
    }

    /// Sends every record that names no partition to this one. Default none: records are spread by key.
    pub fn partition(mut self, partition: Option<PartitionIndex>) -> Self {
        self.partition = partition;
        self
    }

    /// Looks the topic up and gets a producer id.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a setting beyond its bounds; [`Error::Refused`] with
    /// [`ErrorCode::UnknownTopic`](crate::ErrorCode::UnknownTopic) or
    /// [`ErrorCode::UnknownPartition`](crate::ErrorCode::UnknownPartition).
    pub async fn build(self) -> Result<Producer, Error> {
        let Settings { batching, in_flight, buffer_bytes, .. } = self.settings;
        require("in_flight", in_flight, 1..=BATCHES_IN_FLIGHT_MAX)?;
        require("batch_bytes", batching.batch_bytes, 1..=BATCH_BYTES_MAX)?;
        require("buffer_bytes", buffer_bytes, BUFFER_BYTES_MIN..=BUFFER_BYTES_MAX)?;
        let topic = self.client.topic(&self.topic).await?;
        if let Some(partition) = self.partition {
            require_partition(&topic, partition)?;
        }
        let producer_id = self.client.allocate_producer_id(self.client.timeout()).await?;
        Ok(Producer::new(self.client, &topic, self.partition, producer_id, self.settings))
    }
}

fn require(setting: &str, value: usize, bounds: RangeInclusive<usize>) -> Result<(), Error> {
    if bounds.contains(&value) {
        return Ok(());
    }
    let (min, max) = bounds.into_inner();
    Err(Error::InvalidArgument(format!("{setting} is {value}, but must lie within {min}..={max}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_beyond_its_bounds_is_named_with_them() {
        assert_eq!(require("in_flight", 5, 1..=5), Ok(()));
        let expected = "in_flight is 6, but must lie within 1..=5";
        assert_eq!(require("in_flight", 6, 1..=5).map_err(|error| error.to_string()), Err(expected.into()));
    }
}
