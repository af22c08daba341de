//! Which node to ask, and when to ask again.

mod attempts;
mod refresh;
mod replicas;
mod router;

pub(crate) use attempts::attempt_timeout;
pub(crate) use refresh::Refreshed;
pub(crate) use replicas::ReplicaChoice;
pub(crate) use router::{Call, Router};
