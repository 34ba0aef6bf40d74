//! Parses networks of IP addresses, as a config names them, and tests whether they contain an
//! address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// One address, or a network such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    family: Family,
    first: u128,
    last: u128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// The number of bits in an address.
    fn bits(self) -> u32 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// The largest address of the address family, as a number.
    fn last(self) -> u128 {
        u128::MAX >> (128 - self.bits())
    }
}

/// The error for a text that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkError;

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text is not an address or a network, such as 10.0.0.0/8")
    }
}

impl std::error::Error for NetworkError {}

impl Network {
    /// Returns whether the network contains an address. An IPv4-mapped IPv6 address is treated as
    /// the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (family, address) = number(address.to_canonical());
        family == self.family && (self.first..=self.last).contains(&address)
    }

    /// Returns whether the union of these networks contains every IPv4 address, or every IPv6
    /// address.
    pub fn are_everything(networks: &[Network]) -> bool {
        [Family::V4, Family::V6].into_iter().any(|family| {
            let mut ranges: Vec<(u128, u128)> = networks
                .iter()
                .filter(|network| network.family == family)
                .map(|network| (network.first, network.last))
                .collect();
            ranges.sort_unstable();
            let mut next = 0;
            for (first, last) in ranges {
                if first > next {
                    return false;
                }
                if last == family.last() {
                    return true;
                }
                next = next.max(last + 1);
            }
            false
        })
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let (family, number) = number(address);
        let bits = match bits {
            Some(bits) => bits.parse::<u32>().map_err(|_| NetworkError)?,
            None => family.bits(),
        };
        if bits > family.bits() {
            return Err(NetworkError);
        }
        // `contains` compares an IPv4-mapped IPv6 address as IPv4, so a network of such addresses
        // is stored as an IPv4 network.
        let (family, number, bits) = match address.to_canonical() {
            IpAddr::V4(inner) if bits >= 96 && family == Family::V6 => {
                (Family::V4, u128::from(inner.to_bits()), bits - 96)
            }
            IpAddr::V4(_) | IpAddr::V6(_) => (family, number, bits),
        };
        let rest = family.last().checked_shr(bits).unwrap_or(0);
        Ok(Self {
            family,
            first: number & !rest,
            last: number | rest,
        })
    }
}

fn number(address: IpAddr) -> (Family, u128) {
    match address {
        IpAddr::V4(address) => (Family::V4, u128::from(address.to_bits())),
        IpAddr::V6(address) => (Family::V6, address.to_bits()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        let network: Network = network.parse().unwrap();
        network.contains(address.parse().unwrap())
    }

    fn everything(networks: &[&str]) -> bool {
        let networks: Vec<Network> = networks.iter().map(|one| one.parse().unwrap()).collect();
        Network::are_everything(&networks)
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_other() {
        assert!(holds("10.0.0.0/8", "10.255.255.255"));
        assert!(!holds("10.0.0.0/8", "11.0.0.0"));
        assert!(
            holds("10.0.0.5/8", "10.0.0.0"),
            "`10.0.0.5/8` is the network 10.0.0.0/8: the bits after the prefix are ignored"
        );
        assert!(holds("192.0.2.1", "192.0.2.1"));
        assert!(!holds("192.0.2.1", "192.0.2.0"));
        assert!(holds("0.0.0.0/0", "255.255.255.255"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!holds("2001:db8::/32", "2001:db9::"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(holds("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert!(
            !holds("::/0", "10.1.2.3"),
            "an IPv6 network contains no IPv4 address"
        );
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "proxy",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "10.0.0",
            " 10.0.0.0/8",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError), "{text:?}");
        }
    }

    #[test]
    fn networks_of_all_addresses_are_recognised_in_every_spelling() {
        assert!(everything(&["0.0.0.0/0"]));
        assert!(everything(&["::/0"]));
        assert!(everything(&["::ffff:0.0.0.0/96"]));
        assert!(everything(&["128.0.0.0/1", "10.0.0.0/8", "0.0.0.0/1"]));
        assert!(everything(&["8000::/1", "::/1"]));
        assert!(!everything(&[]));
        assert!(!everything(&["0.0.0.0/1", "::/1"]));
        assert!(!everything(&["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3"]));
        assert!(!everything(&["10.0.0.0/8", "172.16.0.0/12", "fd00::/8"]));
    }
}
