//! What the tests share: a file system in memory that loses power, and a log on it.

mod disk;
mod fixture;
mod model;

pub(crate) use disk::{Disk, PowerCut};
pub(crate) use fixture::{DIRECTORY, Fixture, batch, command, image, wait};
pub(crate) use model::Model;
