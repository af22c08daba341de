//! Three nodes in one process, each with a disk and a store that lose what was not synced, and a network with faults.

pub(crate) mod cluster;
pub(crate) mod net;
pub(crate) mod script;
