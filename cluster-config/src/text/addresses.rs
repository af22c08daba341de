//! A list of addresses: an array in TOML, `a:1,b:2` everywhere else.

use std::fmt;

use serde::{Deserializer, de};

use crate::Address;

/// Writes a list as it is written in the environment: `a:1,b:2`.
pub(crate) fn format(addresses: &[Address]) -> String {
    addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(",")
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Address>, D::Error> {
    deserializer.deserialize_any(AddressesVisitor)
}

struct AddressesVisitor;

impl<'de> de::Visitor<'de> for AddressesVisitor {
    type Value = Vec<Address>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("addresses such as [\"node1.example.com:7201\"] or \"node1:7201,node2:7201\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<Address>, E> {
        Address::parse_list(text).map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<Address>, A::Error> {
        let mut addresses = Vec::new();
        while let Some(address) = elements.next_element()? {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Holder {
        #[serde(deserialize_with = "deserialize")]
        seeds: Vec<Address>,
    }

    #[test]
    fn an_array_and_a_text_with_commas_are_the_same_list() {
        for text in ["seeds = ['a:1', 'b:2']", "seeds = 'a:1,b:2'"] {
            assert_eq!(format(&toml::from_str::<Holder>(text).unwrap().seeds), "a:1,b:2");
        }
    }

    #[test]
    fn what_is_no_list_is_refused_with_an_example() {
        let error = toml::from_str::<Holder>("seeds = 1").err().unwrap();
        assert!(error.message().contains("expected addresses such as"), "{error}");
        assert!(toml::from_str::<Holder>("seeds = ['a']").is_err());
    }
}
