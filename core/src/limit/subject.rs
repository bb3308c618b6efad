//! Whom a limit counts: keys of subjects.

use std::net::{IpAddr, Ipv6Addr};

use crate::error::{Error, Result};
use crate::key::{Identifier, Key, Namespace};

/// How many leading bits of an IPv6 address are one subject.
///
/// A provider hands out a /64 at least to each customer, who can take any of its addresses: each for itself, they would be as many
/// subjects as somebody likes. An IPv4 address is one subject, however it came (`::ffff:203.0.113.7` is `203.0.113.7`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressPrefix(u8);

impl AddressPrefix {
    /// So many bits of an IPv6 address, 1 to 128.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for another number.
    pub fn new(bits: u8) -> Result<Self> {
        if bits == 0 || bits > 128 {
            return Err(Error::invalid(format!("a prefix of an IPv6 address has 1 to 128 bits, got {bits}")));
        }
        Ok(Self(bits))
    }

    /// The subject of an address, as text: `203.0.113.7`, `2001:db8:1:2::/64`.
    pub fn subject(self, address: IpAddr) -> String {
        match address.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) if self.0 == 128 => address.to_string(),
            IpAddr::V6(address) => {
                let bits = u128::from(address) & (u128::MAX << (128 - u32::from(self.0)));
                format!("{}/{}", Ipv6Addr::from(bits), self.0)
            }
        }
    }

    pub(crate) fn key(self, namespace: &Namespace, subject: impl Identifier) -> Result<Key> {
        match subject.address() {
            Some(address) if self.0 < 128 => namespace.key(self.subject(address)),
            _ => namespace.key(subject),
        }
    }
}

impl Default for AddressPrefix {
    /// A /64.
    fn default() -> Self {
        Self(64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_subject() {
        let subject =
            |bits, address: &str| AddressPrefix::new(bits).unwrap().subject(address.parse().unwrap());
        assert_eq!(subject(64, "2001:db8:1:2::1"), "2001:db8:1:2::/64");
        assert_eq!(subject(64, "2001:db8:1:2:ffff::9"), "2001:db8:1:2::/64");
        assert_eq!(subject(64, "2001:db8:1:3::1"), "2001:db8:1:3::/64");
        assert_eq!(subject(56, "2001:db8:1:2ff::1"), "2001:db8:1:200::/56");
        assert_eq!(subject(128, "2001:db8::1"), "2001:db8::1");
        assert_eq!(subject(64, "::ffff:203.0.113.7"), "203.0.113.7");
        assert!(AddressPrefix::new(0).is_err() && AddressPrefix::new(129).is_err());
        let namespace = Namespace::new("rate_limit", "login").unwrap();
        let key = |address: &str| {
            AddressPrefix::default().key(&namespace, address.parse::<IpAddr>().unwrap()).unwrap()
        };
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2::2"));
        assert_eq!(key("::ffff:203.0.113.7").as_str(), "rate_limit:login:203.0.113.7");
    }
}
