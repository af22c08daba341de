//! What a run is to do.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{
    cluster::Network,
    nemesis::{NemesisKind, Pace, Role},
};
use crate::harness::NodeKind;

/// The topics of a run, each with its number of partitions. All have three replicas.
pub const TOPICS: [(&str, u32); 3] = [("orders", 4), ("shop/audit", 4), ("shop/payments", 4)];

/// The nodes of a run, unless that is said.
pub const NODES: u16 = 3;
/// The most nodes a run may begin with.
pub const NODES_MAX: u16 = 7;

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Decides which faults come when.
    pub seed: u64,
    /// Faults to inject; each of them at least once.
    pub nemeses: Vec<NemesisKind>,
    /// How long faults are injected.
    pub faults_for: Duration,
    /// How often, and against whom.
    pub pace: Pace,
    /// How many nodes.
    pub size: u16,
    /// What is between the nodes, and between them and clients.
    pub network: Network,
    /// What runs the nodes.
    pub nodes: NodeKind,
    /// Where the directory of its results is made.
    pub results: PathBuf,
}

/// How long faults are injected unless that is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Two minutes.
    Quick,
    /// Half an hour.
    Full,
    /// Eight times half an hour, each under another seed: a history has to fit the memory.
    Soak,
}

impl Profile {
    /// The time of its faults, in each of its runs.
    #[must_use]
    pub fn faults_for(self) -> Duration {
        Duration::from_secs(match self {
            Self::Quick => 120,
            Self::Full | Self::Soak => 1_800,
        })
    }

    /// How many runs it has, with seeds that follow each other.
    #[must_use]
    pub fn runs(self) -> u64 {
        match self {
            Self::Quick | Self::Full => 1,
            Self::Soak => 8,
        }
    }
}

/// What `verdict.json` says of how a run was asked for.
#[derive(Debug, Deserialize)]
struct Asked {
    seed: u64,
    seconds: u64,
    every_ms: u64,
    role: Option<String>,
    overlap: bool,
    nodes: u16,
    netns: bool,
    shipped: bool,
    faults: Vec<(String, u64)>,
}

impl RunOptions {
    /// The options of the run whose results are in a directory, with results below `results`.
    ///
    /// # Errors
    /// If there is no verdict, or one of another build.
    pub fn of_run(directory: &Path, results: PathBuf) -> Result<Self, String> {
        let path = directory.join("verdict.json");
        let read = fs::read(&path).map_err(|error| error.to_string());
        let asked: Result<Asked, String> =
            read.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
        let Asked { seed, seconds, every_ms, role, overlap, nodes: size, netns, shipped, faults } =
            asked.map_err(|why| format!("{}: {why}", path.display()))?;
        let known = |(name, _): &(String, u64)| {
            NemesisKind::from_name(name).ok_or_else(|| format!("{}: there is no fault {name}", path.display()))
        };
        let nemeses = faults.iter().map(known).collect::<Result<_, _>>()?;
        let known_role =
            |name: String| Role::from_name(&name).ok_or_else(|| format!("{}: there is no role {name}", path.display()));
        let role = role.map(known_role).transpose()?;
        let pace = Pace { every: Duration::from_millis(every_ms), role, overlap };
        let network = if netns { Network::Namespaces } else { Network::Proxies };
        let nodes = if shipped { NodeKind::Shipped } else { NodeKind::PowerLoss };
        Ok(Self { seed, nemeses, faults_for: Duration::from_secs(seconds), pace, size, network, nodes, results })
    }

    /// The command that does the same run again.
    #[must_use]
    pub fn command(&self) -> String {
        let nemeses = self.nemeses.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",");
        let nodes = match self.nodes {
            NodeKind::Shipped => " --shipped",
            NodeKind::PowerLoss => "",
        };
        let size = match self.size {
            NODES => String::new(),
            size => format!(" --nodes {size}"),
        };
        let netns = if self.network == Network::Namespaces { " --netns" } else { "" };
        let every = match self.pace.every {
            every if every == Pace::default().every => String::new(),
            every => format!(" --every {}ms", every.as_millis()),
        };
        let role = self.pace.role.map(|role| format!(" --role {}", role.name())).unwrap_or_default();
        format!(
            "cargo run -p quorate-chaos-tests --release -- run --seed {} --nemesis {nemeses} --seconds {}{every}{role}{size}{netns}{nodes}",
            self.seed,
            self.faults_for.as_secs()
        )
    }
}
