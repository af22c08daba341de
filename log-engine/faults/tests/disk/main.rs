//! Every way in which the disk fails, shown.
#![allow(clippy::unwrap_used, reason = "tests")]

mod barriers;
mod capacity;
mod errors;
mod gates;
mod power_cuts;
mod processes;
mod reads;
mod replay;
mod support;
mod torn;
