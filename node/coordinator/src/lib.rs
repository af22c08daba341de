//! The decisions of a consumer group's coordinator: who is a member, who has which partition, what is committed.
//!
//! All of it is a pure function of the rows that were written before and of what is asked now. Not here: where the rows are
//! kept, how they are replicated, and clocks (`quorate-node`).

mod assign;
mod group;
mod requests;
mod rows;
mod state;
#[cfg(test)]
mod tests;

pub use assign::{Subscriber, assign};
pub use group::{Group, Held, Member, Topics};
pub use rows::Row;
pub use state::{CoordinatorState, Refusal};
