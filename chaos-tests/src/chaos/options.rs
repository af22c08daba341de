//! What a run is to do.

use std::{path::PathBuf, time::Duration};

use super::nemesis::NemesisKind;
use crate::harness::NodeKind;

/// The topics of a run, each with its number of partitions. All have three replicas.
pub const TOPICS: [(&str, u32); 2] = [("orders", 3), ("shop/audit", 2)];

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Decides which faults come when.
    pub seed: u64,
    /// Faults to inject; each of them at least once.
    pub nemeses: Vec<NemesisKind>,
    /// How long faults are injected.
    pub faults_for: Duration,
    /// What runs the nodes.
    pub nodes: NodeKind,
    /// Where the directory of its results is made.
    pub results: PathBuf,
}

/// How long faults are injected unless that is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Some seconds for each nemesis.
    Quick,
    /// Two minutes.
    Standard,
    /// Twenty minutes.
    Long,
}

impl Profile {
    /// The time of its faults.
    #[must_use]
    pub fn faults_for(self) -> Duration {
        Duration::from_secs(match self {
            Self::Quick => 30,
            Self::Standard => 120,
            Self::Long => 1_200,
        })
    }
}

impl RunOptions {
    /// The command that does the same run again.
    #[must_use]
    pub fn command(&self) -> String {
        let nemeses = self.nemeses.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",");
        let nodes = match self.nodes {
            NodeKind::Shipped => "",
            NodeKind::PowerLoss => " --power-loss",
        };
        format!(
            "cargo run -p quorate-chaos-tests --release -- run --seed {} --nemesis {nemeses} --seconds {}{nodes}",
            self.seed,
            self.faults_for.as_secs()
        )
    }
}
