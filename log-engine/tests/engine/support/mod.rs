//! What the tests share: a file system in memory that loses power, and a log on it.

mod fixture;
mod model;

pub(crate) use fixture::{
    DIRECTORY, Fixture, Visited, batch, command, engine, image, segment_path, shared_engine, state_before, wait,
};
pub(crate) use model::Model;
pub(crate) use quorate_faulty_vfs::{Disk, PowerCut};
