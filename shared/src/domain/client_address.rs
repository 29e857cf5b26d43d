//! The IP address of a client, and which addresses count as one client.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A client's IP address. An IPv4 address in IPv6 notation is treated as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// Parses an address; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let address: IpAddr = text.parse().ok()?;
        Some(Self(address.to_canonical()))
    }

    /// Parses an address with a port, `198.51.100.10:46532` or `2001:db8::1:46532`: CloudFront writes IPv6 addresses
    /// without brackets.
    pub fn parse_with_port(text: &str) -> Option<Self> {
        let (address, port) = text.rsplit_once(':')?;
        port.parse::<u16>().ok()?;
        Self::parse(address.trim_start_matches('[').trim_end_matches(']'))
    }

    /// Returns the network that counts as one client: an IPv4 address, or the IPv6 /64 that one household or machine
    /// gets.
    pub fn network(self) -> String {
        match self.0 {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let prefix = address.to_bits() & !u128::from(u64::MAX);
                format!("{}/64", Ipv6Addr::from_bits(prefix))
            }
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_counts_by_its_64_and_mapped_ipv4_as_ipv4() {
        for (text, network) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ] {
            assert_eq!(ClientAddress::parse(text).unwrap().network(), network);
        }
        for text in ["", "203.0.113", "2001:db8::1%eth0", "a}b", "203.0.113.7:80"] {
            assert_eq!(ClientAddress::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_port_is_what_follows_the_last_colon() {
        for (text, address) in [
            ("198.51.100.10:46532", "198.51.100.10"),
            ("2001:db8::1:46532", "2001:db8::1"),
            ("[2001:db8::1]:46532", "2001:db8::1"),
        ] {
            let parsed = ClientAddress::parse_with_port(text).unwrap();
            assert_eq!(parsed.to_string(), address);
        }
        for text in [
            "198.51.100.10",
            "198.51.100.10:",
            ":1",
            "198.51.100.10:99999",
        ] {
            assert_eq!(ClientAddress::parse_with_port(text), None, "{text}");
        }
    }
}
