//! Tests of the disk format: decoders under any bytes, the layout byte by byte, and a log that version 1 has written.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod corpus;
mod fixture;
mod layout;
mod listing;
mod mutate;
mod seeds;
#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a library of its own, included by its path")]
mod targets;
mod versions;
