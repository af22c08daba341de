//! The client port: connections, admission of appends in arrival order, and the answers.

mod admin;
pub(crate) mod errors;
mod fetch;
mod produce;
mod recovery;
mod server;
mod trim;
mod watched;

pub(crate) use produce::find;
pub(crate) use server::ClientServer;
