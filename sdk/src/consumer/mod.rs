//! Reading records: one prefetching task per partition, decoded where they are polled.
//!
//! Not here: consumer groups, committed positions. A consumer reads the partitions it is given from where it is told.

mod builder;
mod chunk;
mod fetch_task;
mod handle;
mod position;

pub use builder::ConsumerBuilder;
pub use handle::{ConsumedRecord, Consumer, RawBatches};
pub use position::Position;
