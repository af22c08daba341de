//! Faults: which there are, when they come, whom they hit, and how they are injected and healed.
//!
//! [`plan()`] is a function of the seed, and [`aim()`] one of a step of the plan and of who leads what. The injector
//! does what they say and decides nothing.

mod aim;
mod injector;
mod journal;
mod kind;
mod observer;
mod plan;

pub use aim::{Action, Roles, aim};
pub(super) use injector::{Injected, Injector};
pub use journal::{Entry, State};
pub use kind::{NemesisKind, Role};
pub(super) use observer::Observer;
pub use plan::{Pace, Step, plan};
