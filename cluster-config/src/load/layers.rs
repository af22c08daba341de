//! Sources laid over each other, each over all that came before it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use figment::Figment;
use figment::providers::Serialized;

use super::{ConfigError, Loaded, Origin, Setting, file, flag_name, variable_name};
use crate::{FOREIGN_VARIABLES, NodeConfig, NodeConfigError};

/// What the sources added so far say.
///
/// Invariant: `origins` has exactly the keys that `values` has, and all of them belong to settings.
pub(super) struct Layers {
    values: Figment,
    origins: BTreeMap<&'static str, Origin>,
    keys: Vec<&'static str>,
}

impl Layers {
    /// No source: only defaults.
    pub(super) fn new() -> Self {
        let keys = NodeConfig::new("").settings().into_iter().map(|(key, _)| key).collect();
        Self { values: Figment::new(), origins: BTreeMap::new(), keys }
    }

    /// Adds what a TOML file says.
    pub(super) fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let table = file::read(path)?;
        let origin = Origin::File(path.to_owned());
        for key in file::keys(&table) {
            let key = self.known_key(&key, &origin)?;
            self.origins.insert(key, origin.clone());
        }
        self.merge(Serialized::defaults(table));
        Ok(())
    }

    /// Adds what an environment variable says, if it is one of ours.
    pub(super) fn add_variable(&mut self, name: &OsStr, value: &OsStr) -> Result<(), ConfigError> {
        let name = name.to_string_lossy();
        if !name.starts_with("QUORATE_") || FOREIGN_VARIABLES.contains(&name.as_ref()) {
            return Ok(());
        }
        let Some(key) = self.keys.iter().copied().find(|key| variable_name(key) == name) else {
            let known = self.keys.iter().map(|key| variable_name(key)).collect::<Vec<_>>().join(", ");
            return Err(ConfigError::UnknownVariable { variable: printable(&name), known });
        };
        let variable = name.into_owned();
        let Some(value) = value.to_str() else {
            return Err(ConfigError::VariableNotUtf8 { variable });
        };
        self.add_text(key, value, Origin::Env(variable));
        Ok(())
    }

    /// Adds what a flag says.
    pub(super) fn add_flag(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        let origin = Origin::Flag(flag_name(key));
        let key = self.known_key(key, &origin)?;
        self.add_text(key, value, origin);
        Ok(())
    }

    /// The settings, valid, with their origins.
    pub(super) fn into_loaded(self) -> Result<Loaded, ConfigError> {
        if !self.origins.contains_key("data_dir") {
            let key = "data_dir";
            return Err(ConfigError::Missing { key, flag: flag_name(key), variable: variable_name(key) });
        }
        // Lossy: flags and variables are text, also where the setting is a number.
        let config: NodeConfig = self.values.extract_lossy().map_err(|error| self.invalid(error))?;
        config.validate().map_err(|rule| self.broken(rule))?;
        let setting = |(key, value)| Setting { key, value, origin: self.origin(key) };
        let settings = config.settings().into_iter().map(setting).collect();
        Ok(Loaded { config, settings })
    }

    fn add_text(&mut self, key: &'static str, value: &str, origin: Origin) {
        self.merge(Serialized::default(key, value));
        self.origins.insert(key, origin);
    }

    fn merge(&mut self, provider: impl figment::Provider) {
        self.values = std::mem::take(&mut self.values).merge(provider);
    }

    fn known_key(&self, key: &str, origin: &Origin) -> Result<&'static str, ConfigError> {
        self.keys.iter().copied().find(|known| *known == key).ok_or_else(|| ConfigError::UnknownKey {
            key: key.to_owned(),
            origin: origin.clone(),
            known: self.keys.join(", "),
        })
    }

    fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or_default()
    }

    /// Tells which setting an error is about: its path may lead on into the value, as to one element of a list.
    fn invalid(&self, error: figment::Error) -> ConfigError {
        let path = error.path.join(".");
        let about = |key: &&str| path.strip_prefix(*key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let key = self.keys.iter().copied().find(about).unwrap_or(&path);
        ConfigError::Invalid {
            key: key.to_owned(),
            origin: self.origin(key),
            reason: printable(&error.kind.to_string()),
        }
    }

    fn broken(&self, rule: NodeConfigError) -> ConfigError {
        let origins = rule.keys().into_iter().map(|key| format!("{key}: {}", self.origin(key)));
        ConfigError::Rule { origins: origins.collect::<Vec<_>>().join(", "), source: rule }
    }
}

/// The text on one line, whatever its author put into it.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}
