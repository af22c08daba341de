//! The name of a stream or of a topic.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::NAME_BYTES_MAX;

/// The name of a stream or of a topic: 1 to 249 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`, but neither `.` nor `..`.
///
/// Valid by construction, also when deserialized. Names that differ in case only are different names. Cloning is
/// cheap: clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text is no [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name must not be empty: use 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ -")]
    Empty,
    /// The text is longer than [`NAME_BYTES_MAX`].
    #[error("a name has at most {NAME_BYTES_MAX} bytes, found {bytes}: use a shorter one")]
    TooLong {
        /// The length found, in bytes.
        bytes: usize,
    },
    /// The text holds a character that names do not have.
    #[error("{name:?} is not a name, it contains {character:?}: use only A-Z a-z 0-9 . _ -")]
    Character {
        /// The text found.
        name: String,
        /// The first character of it that is not allowed.
        character: char,
    },
    /// The text is `.` or `..`, which file systems keep for themselves.
    #[error("{name:?} is reserved and cannot be a name: choose another one")]
    Reserved {
        /// The text found.
        name: String,
    },
}

impl Name {
    /// Reads a name; nothing is trimmed or changed.
    ///
    /// # Errors
    ///
    /// [`NameError`] says which rule `text` breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong { bytes: text.len() });
        }
        if let Some(character) = text.chars().find(|&character| !is_allowed(character)) {
            return Err(NameError::Character { name: text.to_owned(), character });
        }
        if matches!(text, "." | "..") {
            return Err(NameError::Reserved { name: text.to_owned() });
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name known to be valid when the program is written; a test of each caller shows that it is.
    pub(crate) fn from_static(text: &'static str) -> Self {
        Self(text.into())
    }
}

fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::Error;

    use super::*;

    #[test]
    fn names_of_allowed_characters_are_kept_as_written() {
        for text in ["a", "orders", "Orders-2024_v1.2", "...", ".a", "-", &"x".repeat(249)] {
            assert_eq!(Name::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn each_broken_rule_has_its_own_error() {
        assert_eq!(Name::parse(""), Err(NameError::Empty));
        assert_eq!(Name::parse(&"x".repeat(250)), Err(NameError::TooLong { bytes: 250 }));
        for reserved in [".", ".."] {
            assert_eq!(Name::parse(reserved), Err(NameError::Reserved { name: reserved.into() }));
        }
        for (text, character) in [("a/b", '/'), ("a b", ' '), ("é", 'é'), ("a\n", '\n'), ("a\0", '\0')] {
            assert_eq!(Name::parse(text), Err(NameError::Character { name: text.into(), character }));
        }
    }

    #[test]
    fn an_error_is_one_line_that_says_what_to_do() {
        let message = Name::parse("a\nb").unwrap_err().to_string();
        assert_eq!(message, r#""a\nb" is not a name, it contains '\n': use only A-Z a-z 0-9 . _ -"#);
    }

    #[test]
    fn deserializing_validates() {
        let read = |text: &'static str| {
            let deserializer: de::value::StrDeserializer<'_, Error> = text.into_deserializer();
            Name::deserialize(deserializer)
        };
        assert_eq!(read("orders").unwrap().as_str(), "orders");
        assert!(read("a/b").unwrap_err().to_string().contains("'/'"));
    }
}
