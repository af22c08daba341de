//! Consumer groups: members that share the partitions of topics, and what the group has committed.
//!
//! The coordinator decides who reads what; a member sends heartbeats and does as it is told. Not here: fetching
//! (`crate::consumer`).

mod admin;
mod builder;
mod commit;
mod coordinator;
mod handle;
mod lag;
mod membership;
mod rebalance;

pub use builder::GroupConsumerBuilder;
pub use commit::CommitMode;
pub use handle::GroupConsumer;
pub use lag::Lag;
pub use rebalance::RebalanceEvent;
