//! Which node to ask, and when to ask again.

mod attempts;
mod refresh;
mod router;

pub(crate) use attempts::attempt_timeout;
pub(crate) use refresh::Refreshed;
pub(crate) use router::{Call, Router};
