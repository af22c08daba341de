//! Where a setting comes from, and what it is called there.

use std::fmt;
use std::path::PathBuf;

/// Where the value of a setting comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    #[default]
    Default,
    /// The TOML file of this path.
    File(PathBuf),
    /// The environment variable of this name.
    Env(String),
    /// The flag of this name, dashes included.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.pad("default"),
            Self::File(path) => formatter.pad(&format!("file {}", path.display())),
            Self::Env(variable) => formatter.pad(&format!("environment variable {variable}")),
            Self::Flag(flag) => formatter.pad(&format!("flag {flag}")),
        }
    }
}

/// The environment variable of a setting: `QUORATE_LOG__WRITER_THREADS` for `log.writer_threads`.
#[must_use]
pub fn variable_name(key: &str) -> String {
    format!("QUORATE_{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// The flag of a setting: `--log-writer-threads` for `log.writer_threads`.
#[must_use]
pub fn flag_name(key: &str) -> String {
    format!("--{}", key.replace(['.', '_'], "-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeConfig;

    #[test]
    fn a_setting_has_one_name_in_each_place() {
        assert_eq!(variable_name("data_dir"), "QUORATE_DATA_DIR");
        assert_eq!(variable_name("log.writer_threads"), "QUORATE_LOG__WRITER_THREADS");
        assert_eq!(flag_name("log.writer_threads"), "--log-writer-threads");
    }

    #[test]
    fn no_two_settings_share_a_name() {
        let settings = NodeConfig::new("data").settings();
        for name in [variable_name, flag_name] {
            let mut names: Vec<_> = settings.iter().map(|(key, _)| name(key)).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), settings.len());
        }
    }

    #[test]
    fn an_origin_says_what_it_is() {
        assert_eq!(Origin::Default.to_string(), "default");
        assert_eq!(Origin::File("/etc/quorate.toml".into()).to_string(), "file /etc/quorate.toml");
        assert_eq!(Origin::Env("QUORATE_LISTEN".into()).to_string(), "environment variable QUORATE_LISTEN");
        assert_eq!(Origin::Flag("--listen".into()).to_string(), "flag --listen");
    }
}
