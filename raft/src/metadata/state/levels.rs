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

/// The level of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level(pub(super) u32);

impl Default for Level {
    fn default() -> Self {
        Self(1)
    }
}

impl MetadataState {
    /// The level that the cluster is at: what belongs to a higher one must not be proposed.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.level.0
    }

    /// The level that the cluster can go to, if that is higher: every node that is not given up understands it.
    #[must_use]
    pub fn level_within_reach(&self) -> Option<u32> {
        let understood = self.nodes.values().filter(|row| row.leaving != Some(super::Leaving::Dead));
        understood.map(|row| row.levels.max).min().filter(|level| *level > self.level.0)
    }

    pub(super) fn check_levels(&self, levels: Levels) -> Result<(), MetadataRefusal> {
        if levels.understands(self.level.0) {
            return Ok(());
        }
        Err(MetadataRefusal::NotUnderstood { levels, level: self.level.0 })
    }

    pub(super) fn raise_level(&mut self, level: u32) -> Applied {
        match self.level_within_reach() {
            Some(reach) if level > self.level.0 && level <= reach => {
                let rows = vec![Row::Level(level)];
                self.load(rows.clone());
                Ok((MetadataReply::LevelRaised, rows))
            }
            _ => {
                Err(MetadataRefusal::Invalid(format!("the cluster does not go from level {} to {level}", self.level.0)))
            }
        }
    }
}
