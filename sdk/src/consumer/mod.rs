//! Reading records: one prefetching task per partition, decoded where they are polled.
//!
//! Not here: groups (`crate::group`). A consumer reads the partitions it is given from where it is told.

mod builder;
mod chunk;
mod engine;
mod fetch_task;
mod handle;
mod position;

pub use builder::ConsumerBuilder;
pub(crate) use builder::{FetchSettings, OFFSETS_IN_FLIGHT_MAX};
pub(crate) use engine::{Engine, Start};
pub(crate) use handle::not_read;
pub use handle::{ConsumedRecord, Consumer, RawBatches};
pub use position::{OnTruncated, Position};
