//! Why the settings of a node could not be loaded.

use std::io;
use std::path::PathBuf;

use super::Origin;
use crate::NodeConfigError;

/// Why the settings of a node could not be loaded. Each is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}; check the path and its permissions", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{}:{line}:{column}: not valid TOML: {message}; correct the file", path.display())]
    FileSyntax {
        /// The file.
        path: PathBuf,
        /// The line of the first mistake, from 1.
        line: usize,
        /// The column of the first mistake, in characters, from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// A key of the file or of the flags belongs to no setting.
    #[error("unknown setting {key:?} in {origin}: remove it or use one of {known}")]
    UnknownKey {
        /// The dotted key.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// The dotted keys of all settings, separated by commas.
        known: String,
    },
    /// An environment variable that begins with `QUORATE_` belongs to no setting.
    #[error("unknown environment variable {variable}: unset it or use one of {known}")]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// The variables of all settings, separated by commas.
        known: String,
    },
    /// The value of an environment variable is not UTF-8.
    #[error("environment variable {variable} is not valid UTF-8: set it to a value that is")]
    VariableNotUtf8 {
        /// The variable.
        variable: String,
    },
    /// A setting without a default was not given.
    #[error("{key} is not set: give {flag}, set {variable}, or put {key} into the configuration file")]
    Missing {
        /// The dotted key.
        key: &'static str,
        /// Its flag.
        flag: String,
        /// Its environment variable.
        variable: String,
    },
    /// A value is not of the setting's type.
    #[error("{key} from {origin} is not valid: {reason}")]
    Invalid {
        /// The dotted key.
        key: String,
        /// Where the value comes from.
        origin: Origin,
        /// What was found, and what was expected instead.
        reason: String,
    },
    /// The settings break a rule.
    #[error("{source} ({origins})")]
    Rule {
        /// The rule.
        source: NodeConfigError,
        /// Where the settings it is about come from.
        origins: String,
    },
}
