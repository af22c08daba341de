//! Where a node is reached.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest DNS name, in bytes (RFC 1035 §2.3.4, in text form and without a trailing dot).
const DNS_NAME_BYTES_MAX: usize = 253;
/// The longest label of a DNS name, in bytes (RFC 1035 §2.3.4).
const DNS_LABEL_BYTES_MAX: usize = 63;

/// `HOST:PORT`, where the host is a DNS name, an IPv4 address or an IPv6 address in brackets, and the port is 1 to
/// 65535.
///
/// Valid by construction, also when deserialized, and in one spelling: DNS names are lower case and IPv6 addresses
/// in their canonical form, so that two nodes that compare their lists of seeds compare addresses and not spellings.
/// A name is not resolved here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: String,
    port: NonZeroU16,
}

/// Why a text is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not an address, {problem}: write HOST:PORT, such as node1.example.com:7101 or [::1]:7101")]
pub struct AddressError {
    /// The text found.
    pub found: String,
    /// What is wrong with it.
    pub problem: AddressProblem,
}

/// What is wrong with a text that should be an [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressProblem {
    /// Nothing says which port.
    #[error("the port is missing")]
    PortMissing,
    /// The port is no number from 1 to 65535.
    #[error("the port is not a number within 1..=65535")]
    Port,
    /// Nothing says which host.
    #[error("the host is missing")]
    HostMissing,
    /// The host is neither a DNS name nor an IP address.
    #[error("the host is neither a DNS name nor an IP address")]
    Host,
    /// The host ends in a number, as an IPv4 address does, but is none.
    #[error("the host is not a valid IPv4 address")]
    Ipv4,
    /// The brackets hold no IPv6 address. Zones, as in `fe80::1%eth0`, are not supported.
    #[error("the brackets do not hold a valid IPv6 address")]
    Ipv6,
    /// An IPv6 address without brackets: where it ends and the port begins cannot be told.
    #[error("an IPv6 address needs brackets")]
    BracketsMissing,
}

impl Address {
    /// Reads `HOST:PORT`; nothing is trimmed.
    ///
    /// # Errors
    ///
    /// [`AddressError`] says what is wrong and what an address looks like.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        split(text)
            .and_then(|(host, port)| Ok(Self { host, port: parse_port(port)? }))
            .map_err(|problem| AddressError { found: text.to_owned(), problem })
    }

    /// Reads a list of addresses separated by commas. Spaces around an address are ignored; the list has at least
    /// one address, and repetitions are kept.
    ///
    /// # Errors
    ///
    /// The [`AddressError`] of the first address that is not valid.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, AddressError> {
        text.split(',').map(|address| Self::parse(address.trim())).collect()
    }

    /// `127.0.0.1` and a port.
    #[must_use]
    pub fn loopback(port: NonZeroU16) -> Self {
        Self { host: Ipv4Addr::LOCALHOST.to_string(), port }
    }

    /// The host: a DNS name in lower case, an IPv4 address, or an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 1 to 65535.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.get()
    }

    /// Whether the host is `0.0.0.0` or `[::]`: a node can listen there, but nobody can connect to it.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.host.parse().is_ok_and(|address: IpAddr| address.is_unspecified())
    }
}

/// Splits an address into its host, in the one spelling, and what should be its port.
fn split(text: &str) -> Result<(String, &str), AddressProblem> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or(AddressProblem::Ipv6)?;
        let host: Ipv6Addr = host.parse().map_err(|_| AddressProblem::Ipv6)?;
        let port = rest.strip_prefix(':').ok_or(AddressProblem::PortMissing)?;
        return Ok((host.to_string(), port));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(AddressProblem::BracketsMissing);
    }
    let (host, port) = text.rsplit_once(':').ok_or(AddressProblem::PortMissing)?;
    if host.parse::<Ipv6Addr>().is_ok() {
        return Err(AddressProblem::BracketsMissing);
    }
    Ok((parse_host(host)?, port))
}

fn parse_host(host: &str) -> Result<String, AddressProblem> {
    if host.is_empty() {
        return Err(AddressProblem::HostMissing);
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(address.to_string());
    }
    // A trailing dot says "this name is complete": resolvers then skip their search domains.
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > DNS_NAME_BYTES_MAX || !name.split('.').all(is_dns_label) {
        return Err(AddressProblem::Host);
    }
    // No top-level domain is a number, so this is a mistyped IPv4 address. Some resolvers take `127.1` for one.
    if name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(AddressProblem::Ipv4);
    }
    Ok(host.to_ascii_lowercase())
}

/// Underscores are not in RFC 1035, but container runtimes put them into the names of hosts.
fn is_dns_label(label: &str) -> bool {
    (1..=DNS_LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn parse_port(port: &str) -> Result<NonZeroU16, AddressProblem> {
    match port {
        "" => Err(AddressProblem::PortMissing),
        // The parser of the standard library would take `+80`.
        _ if !port.bytes().all(|byte| byte.is_ascii_digit()) => Err(AddressProblem::Port),
        _ => port.parse().map_err(|_| AddressProblem::Port),
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            formatter.pad(&format!("[{host}]:{port}"))
        } else {
            formatter.pad(&format!("{host}:{port}"))
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn problem(text: &str) -> AddressProblem {
        Address::parse(text).unwrap_err().problem
    }

    #[test]
    fn names_and_ip_addresses_are_read_and_written_alike() {
        let longest = format!("{}:1", ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join("."));
        for text in ["localhost:7101", "a-1.b_c.example.:1", "10.0.0.1:65535", "[::1]:7101", "1a.2b:80", &longest] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_host_has_no_brackets_and_the_port_is_a_number() {
        let address = Address::parse("[::1]:7101").unwrap();
        assert_eq!((address.host(), address.port()), ("::1", 7101));
    }

    #[test]
    fn two_spellings_of_an_address_are_one_address() {
        assert_eq!(Address::parse("Node1.Example:7101"), Address::parse("node1.example:7101"));
        assert_eq!(Address::parse("[0:0:0:0:0:0:0:1]:7101"), Address::parse("[::1]:7101"));
        assert_eq!(Address::parse("a:07101"), Address::parse("a:7101"));
    }

    #[test]
    fn each_mistake_is_told_apart() {
        use AddressProblem::{BracketsMissing, Host, HostMissing, Ipv4, Ipv6, Port, PortMissing};
        for text in ["", "localhost", "localhost:", "[::1]", "[::1]7101", "[::1]:"] {
            assert_eq!(problem(text), PortMissing, "{text:?}");
        }
        for text in ["a:0", "a:65536", "a:-1", "a:+1", "a:x", "a: 1", "[::1]:0", "a:18446744073709551617"] {
            assert_eq!(problem(text), Port, "{text:?}");
        }
        for text in ["a b:1", "-a:1", "a-:1", "a..b:1", ".:1", "é:1", "http://a:1", "a:1:2", "a\n:1"] {
            assert_eq!(problem(text), Host, "{text:?}");
        }
        assert_eq!(problem(&format!("{}:1", "a".repeat(64))), Host);
        assert_eq!(problem(&format!("{}a:1", "a.".repeat(127))), Host);
        assert_eq!(problem(":7101"), HostMissing);
        for text in ["256.0.0.1:1", "127.1:1", "1.2.3.4.:1", "7101:1"] {
            assert_eq!(problem(text), Ipv4, "{text:?}");
        }
        for text in ["[]:1", "[::1:1", "[127.0.0.1]:1", "[fe80::1%eth0]:1", "[a]:1"] {
            assert_eq!(problem(text), Ipv6, "{text:?}");
        }
        for text in ["::1:7101", "::1", "2001:db8:0:0:0:0:0:1:7101"] {
            assert_eq!(problem(text), BracketsMissing, "{text:?}");
        }
    }

    #[test]
    fn an_error_is_one_line_that_shows_what_an_address_looks_like() {
        assert_eq!(
            Address::parse("node1").unwrap_err().to_string(),
            "\"node1\" is not an address, the port is missing: \
             write HOST:PORT, such as node1.example.com:7101 or [::1]:7101"
        );
        assert!(!Address::parse("a\nb:1").unwrap_err().to_string().contains('\n'));
    }

    #[test]
    fn a_list_is_separated_by_commas() {
        let expected = ["a:1", "[::1]:2"].map(|text| Address::parse(text).unwrap());
        assert_eq!(Address::parse_list("a:1, [::1]:2").unwrap(), expected);
        for (text, found) in [("", ""), ("a:1,", ""), ("a:1,,b:2", ""), ("a:1,b", "b")] {
            assert_eq!(Address::parse_list(text).unwrap_err().found, found, "{text:?}");
        }
    }

    #[test]
    fn only_the_wildcard_addresses_are_unspecified() {
        for (text, expected) in [("0.0.0.0:1", true), ("[::]:1", true), ("[::1]:1", false), ("a:1", false)] {
            assert_eq!(Address::parse(text).unwrap().is_unspecified(), expected, "{text}");
        }
    }

    #[test]
    fn the_serialized_form_is_the_text() {
        #[derive(Serialize, Deserialize)]
        struct Holder {
            listen: Address,
        }
        let text = toml::to_string(&Holder { listen: Address::parse("[::1]:7101").unwrap() }).unwrap();
        assert_eq!(text, "listen = \"[::1]:7101\"\n");
        assert_eq!(toml::from_str::<Holder>(&text).unwrap().listen.port(), 7101);
        assert!(toml::from_str::<Holder>("listen = \"a\"").is_err());
    }
}
