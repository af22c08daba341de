//! Everything that writes to the disk while logs are open: appends by the writer threads, the rest by one more thread.

mod dirty;
mod maintenance;
mod publish;
mod roll;
mod writers;

pub(crate) use maintenance::{Maintenance, MaintenanceJob, MaintenanceQueue};
pub(crate) use publish::{checkpoint_state, publish, read_small_file, unfinished};
pub(crate) use roll::{Roll, create_first};
pub use writers::{Completion, SYNC_TIME_BOUNDS_US, SyncTimes, WriterStats};
pub(crate) use writers::{Job, LogWriters, Mark, WriteJob, WriterHandle};
