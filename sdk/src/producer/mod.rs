//! Appending records: batching, partitioning, and exactly-once delivery in order.
//!
//! [`Producer::send`] puts a record into the open batch of its partition. One task per partition takes batches that
//! are full or have waited long enough, gives them their sequence and keeps up to `in_flight` of them on their way.

mod accumulator;
mod builder;
mod delivery;
mod error;
mod handle;
mod partition_task;
mod partitioner;
mod sent_batch;
mod window;

pub use builder::ProducerBuilder;
pub use delivery::{Delivery, RecordMetadata};
pub use error::ProduceError;
pub use handle::{Producer, ProducerRecord};
