//! Groups the IP addresses that are treated as one sender when connections and memory are limited.

use std::net::IpAddr;

/// One IPv4 address, or one IPv6 network of the length /64. Access networks assign a whole /64 to
/// each customer, who then has 2^64 addresses. So a limit on each single IPv6 address would not
/// limit that customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AddressBlock {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for AddressBlock {
    fn from(address: IpAddr) -> Self {
        // A listening socket for both IPv4 and IPv6 reports an IPv4 peer as an IPv4-mapped IPv6
        // address.
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn block(address: &str) -> AddressBlock {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn an_ipv4_address_and_an_ipv6_network_are_one_sender() {
        assert_eq!(block("192.0.2.1"), block("::ffff:192.0.2.1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
        assert_eq!(block("2001:db8:1:2::1"), block("2001:db8:1:2:ffff::9"));
        assert_ne!(block("2001:db8:1:2::1"), block("2001:db8:1:3::1"));
    }
}
