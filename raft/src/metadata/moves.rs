//! Replicas that are on their way from one node to another.

use quorate_cluster_config::PartitionId;
use serde::{Deserialize, Serialize};

use super::state::Assignment;
use crate::replacement::{Replacement, ReplacementStep};

/// A change of one partition's replicas that is under way: at most one a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRow {
    /// The partition.
    pub partition: PartitionId,
    /// What is to be done next.
    pub step: MoveStep,
    /// The replica that comes. Its node makes it as soon as it knows of the move.
    pub add: Option<Assignment>,
    /// The replica that goes, once the other one votes.
    pub drop: Option<Assignment>,
}

impl MoveRow {
    /// What the group's leader is asked for.
    #[must_use]
    pub fn replacement(&self) -> Replacement {
        Replacement {
            add: self.add.map(|assignment| (assignment.replica, assignment.node)),
            drop: self.drop.map(|assignment| assignment.replica),
        }
    }
}

/// How far a move has come. Whoever drives it writes down each step once the group's leader says that it is done, and asks
/// for the next one: another one can go on from there at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MoveStep {
    /// The new replica is to become a learner.
    Adding,
    /// It is to receive what it lacks of the log.
    CatchingUp,
    /// It is to vote, and the old one to leave the group.
    Switching,
    /// The move was cancelled: the new replica is to leave the group.
    TakingBack,
}

impl MoveStep {
    /// All steps, in order.
    pub const ALL: [Self; 4] = [Self::Adding, Self::CatchingUp, Self::Switching, Self::TakingBack];

    /// The step after this one; after the last one the move is over.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Adding => Some(Self::CatchingUp),
            Self::CatchingUp => Some(Self::Switching),
            Self::Switching | Self::TakingBack => None,
        }
    }

    /// What the group's leader is asked for.
    #[must_use]
    pub fn of_group(self) -> ReplacementStep {
        match self {
            Self::Adding => ReplacementStep::Add,
            Self::CatchingUp => ReplacementStep::CatchUp,
            Self::Switching => ReplacementStep::Switch,
            Self::TakingBack => ReplacementStep::TakeBack,
        }
    }
}
