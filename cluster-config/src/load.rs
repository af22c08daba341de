//! Loading the settings of a node: flag over environment over TOML over default.
//!
//! One key has one name in each place: `log.writer_threads` in TOML, `QUORATE_LOG__WRITER_THREADS` in the environment
//! and `--log-writer-threads` as a flag. A name that belongs to no setting is an error everywhere, so that a
//! misspelt setting is never silently the default.
//!
//! Not here: the parsing of the command line, and every rule about values (see [`NodeConfig::validate`]).

mod error;
mod file;
mod layers;
mod origin;
mod sources;

use crate::NodeConfig;
use layers::Layers;

pub use error::ConfigError;
pub use origin::{Origin, flag_name, variable_name};
pub use sources::{FOREIGN_VARIABLES, Sources};

/// The settings of a node, valid, and where each of them comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The settings.
    pub config: NodeConfig,
    /// Every setting once, in the order in which [`NodeConfig`] declares them.
    pub settings: Vec<Setting>,
}

/// One setting as loaded, for a person to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The dotted key, such as `log.writer_threads`.
    pub key: &'static str,
    /// The value as it would be written in the environment, such as `128MiB`. Where a setting that was not given
    /// falls back to another one, as `advertise` does to `listen`, the value that then holds.
    pub value: String,
    /// Where the value comes from. [`Origin::Default`] also where the setting falls back to another one.
    pub origin: Origin,
}

impl NodeConfig {
    /// Gathers the settings of a node from `sources`, and validates them.
    ///
    /// Reads the file of `sources`, and nothing else: the environment is what `sources` says it is.
    ///
    /// # Errors
    ///
    /// The first thing wrong, as a [`ConfigError`] that names the setting, where it comes from and what to do.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
        let mut layers = Layers::new();
        if let Some(path) = &sources.file {
            layers.add_file(path)?;
        }
        for (variable, value) in &sources.variables {
            layers.add_variable(variable, value)?;
        }
        for (key, value) in &sources.flags {
            layers.add_flag(key, value)?;
        }
        layers.into_loaded()
    }
}
