//! What clients did and saw, as one list of operations with their times.
//!
//! It is kept in memory while a run lasts, written as `history.jsonl`, one operation a line, and read back by
//! `quorate-chaos check`. Not here: any judgement.

mod file;
mod operation;
mod recorder;
mod value;

pub use file::{HistoryError, read, write};
pub use operation::{Call, Digest, LogEntry, Operation, Outcome, PartitionKey, Read, ReplicaLog};
pub(crate) use operation::{FNV_OFFSET, fnv1a};
pub use recorder::Recorder;
pub use value::Value;
