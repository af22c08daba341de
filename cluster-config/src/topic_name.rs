//! The full name of a topic: its stream and its name within the stream.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Name, NameError};

/// The stream of a topic whose name does not mention one.
pub const DEFAULT_STREAM: &str = "default";

/// The stream of the topics that belong to the cluster itself: it creates them, and only it writes to them.
pub const SYSTEM_STREAM: &str = "_quorate";

/// The full name of a topic. `orders` means `default/orders`; `shop/orders` names the stream.
///
/// Displayed, and serialized, in the shortest form: without the stream where it is [`DEFAULT_STREAM`]. Ordered by
/// stream, then by topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName {
    /// The stream that holds the topic.
    pub stream: Name,
    /// The topic's name, unique within its stream.
    pub topic: Name,
}

/// Why a text is no [`TopicName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    /// The text has more than one slash.
    #[error("{found:?} is not a topic: write TOPIC or STREAM/TOPIC, with at most one slash")]
    Slashes {
        /// The text found.
        found: String,
    },
    /// The part before the slash is no name.
    #[error("the stream is not valid: {0}")]
    Stream(#[source] NameError),
    /// The part after the slash, or the whole text, is no name.
    #[error("the topic is not valid: {0}")]
    Topic(#[source] NameError),
}

impl TopicName {
    /// The topic of this name in the [`DEFAULT_STREAM`].
    #[must_use]
    pub fn in_default_stream(topic: Name) -> Self {
        Self { stream: Name::from_static(DEFAULT_STREAM), topic }
    }

    /// The cluster's own topic whose partitions hold the consumer groups.
    #[must_use]
    pub fn consumer_groups() -> Self {
        Self { stream: Name::from_static(SYSTEM_STREAM), topic: Name::from_static("consumer-groups") }
    }

    /// Whether it belongs to the cluster itself.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.stream.as_str() == SYSTEM_STREAM
    }

    /// Reads `TOPIC` or `STREAM/TOPIC`; nothing is trimmed or changed.
    ///
    /// # Errors
    ///
    /// [`TopicNameError`] says which part breaks which rule.
    pub fn parse(text: &str) -> Result<Self, TopicNameError> {
        match text.split_once('/') {
            None => Name::parse(text).map(Self::in_default_stream).map_err(TopicNameError::Topic),
            Some((_, topic)) if topic.contains('/') => Err(TopicNameError::Slashes { found: text.to_owned() }),
            Some((stream, topic)) => Ok(Self {
                stream: Name::parse(stream).map_err(TopicNameError::Stream)?,
                topic: Name::parse(topic).map_err(TopicNameError::Topic)?,
            }),
        }
    }
}

impl FromStr for TopicName {
    type Err = TopicNameError;

    fn from_str(text: &str) -> Result<Self, TopicNameError> {
        Self::parse(text)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stream.as_str() == DEFAULT_STREAM {
            self.topic.fmt(formatter)
        } else {
            formatter.pad(&format!("{}/{}", self.stream, self.topic))
        }
    }
}

impl Serialize for TopicName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TopicName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn parse(text: &str) -> TopicName {
        TopicName::parse(text).unwrap()
    }

    #[test]
    fn the_default_stream_is_a_valid_name() {
        assert_eq!(Name::parse(DEFAULT_STREAM).unwrap(), parse("orders").stream);
    }

    #[test]
    fn the_clusters_own_topic_has_a_valid_name_and_others_are_not_its_own() {
        assert_eq!(parse("_quorate/consumer-groups"), TopicName::consumer_groups());
        assert!(TopicName::consumer_groups().is_system());
        assert!(!parse("consumer-groups").is_system());
    }

    #[test]
    fn a_name_without_a_stream_lies_in_the_default_stream() {
        assert_eq!(parse("orders"), parse("default/orders"));
        assert_eq!(parse("default/orders").to_string(), "orders");
        assert_eq!(parse("shop/orders").to_string(), "shop/orders");
        assert_eq!(parse("shop/default").to_string(), "shop/default");
    }

    #[test]
    fn each_broken_part_has_its_own_error() {
        assert_eq!(TopicName::parse(""), Err(TopicNameError::Topic(NameError::Empty)));
        assert_eq!(TopicName::parse("shop/"), Err(TopicNameError::Topic(NameError::Empty)));
        assert_eq!(TopicName::parse("/orders"), Err(TopicNameError::Stream(NameError::Empty)));
        assert_eq!(TopicName::parse("a/b/c"), Err(TopicNameError::Slashes { found: "a/b/c".into() }));
        assert!(matches!(TopicName::parse("../a"), Err(TopicNameError::Stream(NameError::Reserved { .. }))));
    }

    #[test]
    fn names_order_by_stream_and_then_by_topic() {
        let mut names = ["shop/a", "orders", "audit/z"].map(parse);
        names.sort();
        assert_eq!(names.map(|name| name.to_string()), ["audit/z", "orders", "shop/a"]);
    }

    #[test]
    fn padding_applies_to_the_whole_name() {
        assert_eq!(format!("{:>8}|{:<8}|", parse("a"), parse("b/c")), "       a|b/c     |");
    }

    #[test]
    fn the_serialized_form_is_the_text() {
        #[derive(Serialize, Deserialize)]
        struct Holder {
            topic: TopicName,
        }
        let text = toml::to_string(&Holder { topic: parse("shop/orders") }).unwrap();
        assert_eq!(text, "topic = \"shop/orders\"\n");
        assert_eq!(toml::from_str::<Holder>(&text).unwrap().topic, parse("shop/orders"));
        assert!(toml::from_str::<Holder>("topic = \"a/b/c\"").is_err());
    }
}
