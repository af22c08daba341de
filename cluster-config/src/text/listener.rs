//! An address to listen on, or `off`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Address;

/// How it is written that nothing is listened on.
const OFF: &str = "off";

/// Writes it as it is read back.
pub(crate) fn format(address: Option<&Address>) -> String {
    address.map_or_else(|| OFF.to_owned(), Address::to_string)
}

pub(crate) fn serialize<S: Serializer>(address: &Option<Address>, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        return serializer.serialize_str(&format(address.as_ref()));
    }
    address.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Address>, D::Error> {
    if deserializer.is_human_readable() {
        return deserializer.deserialize_str(ListenerVisitor);
    }
    Option::<Address>::deserialize(deserializer)
}

struct ListenerVisitor;

impl de::Visitor<'_> for ListenerVisitor {
    type Value = Option<Address>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an address such as \"127.0.0.1:7301\", or \"off\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<Address>, E> {
        if text == OFF {
            return Ok(None);
        }
        Address::parse(text).map(Some).map_err(E::custom)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Holder {
        #[serde(deserialize_with = "deserialize")]
        at: Option<Address>,
    }

    #[test]
    fn an_address_or_off_is_read_and_nothing_else() {
        let read = |text: &str| toml::from_str::<Holder>(&format!("at = '{text}'"));
        for text in ["off", "a:1"] {
            assert_eq!(format(read(text).unwrap().at.as_ref()), text);
        }
        assert!(read("on").is_err() && read("").is_err());
    }
}
