//! What tortures real node processes, and what checks afterwards that nothing was lost.
//!
//! * [`chaos`]: a seeded run: a cluster, a workload, faults, and the verdict on what came of it.
//! * [`proxy`]: the network between the nodes, which can be cut, delayed and reset by directed link.
//! * [`netns`]: the same by the kernel's own means, where the system lets users make network namespaces.
//! * [`history`] and [`checker`]: what clients did and saw, and the judgement of it: pure functions.
//! * [`lines`] judges a consumed stream by itself; [`power_loss`] is a disk that forgets what was not synced.
//! * [`harness`] runs clusters of real processes for the tests of `tests/process`.
//!
//! Not here: anything a shipped binary contains. Faults enter through the seams of `quorate-node`, its processes and
//! its network only.

pub mod chaos;
pub mod checker;
pub mod harness;
pub mod history;
pub mod lines;
pub mod netns;
pub mod node_faults;
pub mod power_loss;
pub mod proxy;
