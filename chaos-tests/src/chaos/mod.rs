//! A run: a cluster of real processes behind proxies, clients that write down what they see, faults by a plan that
//! follows from the seed, and the verdict.
//!
//! The seed decides which faults come when and against whom by role. It does not decide how the processes are scheduled:
//! two runs of a seed are alike, not the same.
//!
//! Not here: anything that needs more than one machine.

mod cluster;
mod defects;
mod drain;
pub mod failover;
pub mod grow;
pub mod nemesis;
pub mod one_node;
mod options;
pub mod overload;
pub mod pipelining;
pub mod repair;
mod replica_logs;
mod report;
mod results;
pub mod retries;
mod run;
mod timing;
mod verdict;
mod workload;

pub use cluster::{ChaosCluster, Network, Shape};
pub use options::{NODES, NODES_MAX, Profile, RunOptions, TOPICS};
pub use results::Results;
pub use run::run;
pub use timing::Latencies;
pub use verdict::{Outcome, Verdict};
