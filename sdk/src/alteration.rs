//! What may change about a topic.

use std::time::Duration;

/// A change of a topic's settings; what is not set stays as it is.
///
/// ```
/// let more = quorate::TopicAlteration::default().partitions(12).retention_bytes(None);
/// # let _ = more;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct TopicAlteration {
    pub(crate) partitions: Option<u32>,
    pub(crate) replication_factor: Option<u32>,
    pub(crate) retention_time: Option<Option<Duration>>,
    pub(crate) retention_bytes: Option<Option<u64>>,
}

impl TopicAlteration {
    /// How many partitions it is to have. They are only ever added; records of a key that come after that may go to
    /// another partition than those before.
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// How many replicas each partition is to have.
    pub fn replication_factor(mut self, replication_factor: u32) -> Self {
        self.replication_factor = Some(replication_factor);
        self
    }

    /// How long records are kept; `None` for ever.
    pub fn retention_time(mut self, time: Option<Duration>) -> Self {
        self.retention_time = Some(time);
        self
    }

    /// How many bytes a partition may have; `None` for any number.
    pub fn retention_bytes(mut self, bytes: Option<u64>) -> Self {
        self.retention_bytes = Some(bytes);
        self
    }
}
