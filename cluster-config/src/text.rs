//! How durations, sizes and lists of addresses are written in TOML, in the environment and on the command line.
//!
//! Each module holds `format`, and `serialize` and `deserialize` for `#[serde(with = "…")]`.

pub(crate) mod addresses;
pub(crate) mod duration;
pub(crate) mod listener;
pub(crate) mod size;
pub(crate) mod unlimited;
