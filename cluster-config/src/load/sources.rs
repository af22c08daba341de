//! What the settings of a node are gathered from.

use std::ffi::OsString;
use std::path::PathBuf;

/// The environment variables that begin with `QUORATE_` and belong to others: to the command line `quorate`, and to
/// the filter of log messages. Loading leaves them alone.
pub const FOREIGN_VARIABLES: &[&str] = &["QUORATE_SERVER", "QUORATE_CONTEXT", "QUORATE_LOG_FILTER", "QUORATE_NODE_BIN"];

/// What the settings of a node are gathered from, besides the defaults. Nothing, unless set.
///
/// ```
/// # use quorate_cluster_config::{NodeConfig, Sources};
/// let flags = vec![("data_dir".to_owned(), "/var/lib/quorate".to_owned())];
/// let sources = Sources { flags, ..Sources::default() };
/// assert_eq!(NodeConfig::load(&sources)?.config, NodeConfig::new("/var/lib/quorate"));
/// # Ok::<(), quorate_cluster_config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// A TOML file, which must exist.
    pub file: Option<PathBuf>,
    /// Environment variables: name and value. Those that do not begin with `QUORATE_` are left alone, as are the
    /// [`FOREIGN_VARIABLES`].
    pub variables: Vec<(OsString, OsString)>,
    /// The settings given on the command line: dotted key and value, such as `("log.writer_threads", "4")`. Where a
    /// key is repeated, its last value holds.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// These sources with the environment of this process, as it is now.
    #[must_use]
    pub fn with_process_environment(mut self) -> Self {
        let ours = |name: &OsString| name.as_encoded_bytes().starts_with(b"QUORATE_");
        self.variables = std::env::vars_os().filter(|(name, _)| ours(name)).collect();
        self
    }
}
