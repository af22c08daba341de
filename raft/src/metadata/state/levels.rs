//! Levels: what the nodes of a cluster, of an older and a newer build, all understand.
//!
//! A command or a row that a build did not have before belongs to a new level. No node proposes it before the cluster is at
//! that level, and the cluster goes there by itself once every node has said that it understands it. A node that does not
//! understand the cluster's level any more is refused: there is no way back.

use serde::{Deserialize, Serialize};

use super::{MetadataState, Row};
use crate::metadata::command::{MetadataRefusal, MetadataReply};

type Applied = Result<(MetadataReply, Vec<Row>), MetadataRefusal>;

/// The levels that a build understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Levels {
    /// The lowest one.
    pub min: u32,
    /// The highest one.
    pub max: u32,
}

/// What this build understands.
///
/// | level | what it brought |
/// |---|---|
/// | 1 | all there was when levels began |
pub const LEVELS: Levels = Levels { min: 1, max: 1 };

impl Levels {
    /// Whether a cluster at this level is understood.
    #[must_use]
    pub fn understands(self, level: u32) -> bool {
        (self.min..=self.max).contains(&level)
    }
}

impl MetadataState {
    /// The level that the cluster is at: what belongs to a higher one must not be proposed. 0 before the first node is
    /// registered, whose lowest one it becomes.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.level.unwrap_or(0)
    }

    pub(crate) fn level_given(&self) -> Option<u32> {
        self.level
    }

    /// What the first node gives the cluster.
    pub(super) fn first_level(&self, levels: Levels) -> Option<Row> {
        self.level.is_none().then_some(Row::Level(levels.min))
    }

    /// The level that the cluster can go to, if that is higher: every node that is not given up understands it.
    #[must_use]
    pub fn level_within_reach(&self) -> Option<u32> {
        let understood = self.nodes.values().filter(|row| row.leaving != Some(super::Leaving::Dead));
        understood.map(|row| row.levels.max).min().filter(|level| *level > self.level())
    }

    pub(super) fn check_levels(&self, levels: Levels) -> Result<(), MetadataRefusal> {
        match self.level {
            Some(level) if !levels.understands(level) => Err(MetadataRefusal::NotUnderstood { levels, level }),
            _ => Ok(()),
        }
    }

    pub(super) fn raise_level(&mut self, level: u32) -> Applied {
        match self.level_within_reach() {
            Some(reach) if level > self.level() && level <= reach => {
                let rows = vec![Row::Level(level)];
                self.load(rows.clone());
                Ok((MetadataReply::LevelRaised, rows))
            }
            _ => {
                Err(MetadataRefusal::Invalid(format!("the cluster does not go from level {} to {level}", self.level())))
            }
        }
    }
}
