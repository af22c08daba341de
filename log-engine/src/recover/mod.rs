//! Opening a log: finding its chain of segments, checking what a crash may have left undone, deciding what a bad end
//! means, and only then changing anything.
//!
//! The scan begins at the newest checkpoint the caller can use, which is that of the newest segment but for a crash
//! right after a roll. The segments before it are known from the checkpoint and not looked at: what is damaged there is a
//! [`crate::Hole`], found by the read or the scrub that meets it.

mod chain;
mod foresee;
mod open;
mod scan;
mod settle;

pub(crate) use chain::{Listing, decode_header, read_checkpoint};
pub(crate) use foresee::{Foreseen, foresee};
pub use open::Opened;
pub(crate) use open::open;
pub(crate) use scan::was_durable;
pub use scan::{RecoveredEntry, Recovery};
pub(crate) use settle::nonzero_end;
