//! The metadata group: what it holds, the commands that change it, and the Raft group around it.

mod command;
mod group;
mod machine;
mod moves;
mod placement;
mod state;

pub use command::{Join, MetadataCommand, MetadataRefusal, MetadataReply};
pub(crate) use group::catch_up;
pub use group::{MetadataError, MetadataGroup};
pub(crate) use machine::MetadataMachine;
pub use moves::{MoveRow, MoveStep};
pub use placement::{Change, Goal, NodeLoad, Placed, choose_voters, place, plan, plan_at_most, prefer_leaders};
pub use state::{
    Assignment, LEVELS, Leaving, Levels, MetadataRecoveryRow, MetadataState, NodePlace, NodeRow, RecoverMetadata,
    RecoverPartition, RecoveryRow, Row, Tombstone, TopicAlteration, TopicRow,
};
