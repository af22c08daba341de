//! Reading a TOML file into a table, with errors of one line.

use std::fs;
use std::path::Path;

use super::ConfigError;

/// Reads and parses the file. That its keys belong to settings is checked elsewhere.
pub(super) fn read(path: &Path) -> Result<toml::Table, ConfigError> {
    let text =
        fs::read_to_string(path).map_err(|source| ConfigError::FileUnreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| syntax_error(path, &text, &error))
}

fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    ConfigError::FileSyntax {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.chars().rev().take_while(|&character| character != '\n').count() + 1,
        message: error.message().replace('\n', ", "),
    }
}

/// The dotted key of every value of a table, in order. Tables are not values, lists are.
pub(super) fn keys(table: &toml::Table) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => found.extend(keys(inner).into_iter().map(|name| format!("{key}.{name}"))),
            _ => found.push(key.clone()),
        }
    }
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_tells_line_and_column() {
        let text = "listen = 'a:1'\n  seeds = [1,\n";
        let error = toml::from_str::<toml::Table>("a = 1\nb = = 2\n").unwrap_err();
        let found = syntax_error(Path::new("q.toml"), "a = 1\nb = = 2\n", &error).to_string();
        assert!(found.starts_with("q.toml:2:5: "), "{found}");
        let error = toml::from_str::<toml::Table>(text).unwrap_err();
        assert!(!syntax_error(Path::new("q.toml"), text, &error).to_string().contains('\n'));
    }

    #[test]
    fn the_keys_are_those_of_the_values() {
        let table = toml::from_str("a = 1\nc = [1, 2]\n[b]\nx = 1\n[b.y]\nz = 1\n[empty]\n").unwrap();
        assert_eq!(keys(&table), ["a", "b.x", "b.y.z", "c"]);
    }
}
