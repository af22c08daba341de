//! Tests of the log engine on a disk in memory that fails as disks do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::unimplemented, reason = "tests")]

mod crash;
mod damage;
mod group_commit;
mod inspect;
mod model;
mod reading;
mod real_files;
mod refusals;
mod repair;
mod replay;
mod scripts;
mod segments;
mod support;
mod truncation;
mod wire;
