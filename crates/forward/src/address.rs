//! Decides which addresses a call may go to.
//!
//! A name of the public internet must not lead into the operator's own network: the owner of the
//! name could otherwise reach services there that trust every caller of that network. So each
//! address is checked after the name was resolved, and private addresses are refused unless the
//! setting `private_host` says that the host is in a private network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// An address of the public internet.
    Public,
    /// An address of a private network or of this machine.
    Private(&'static str),
    /// An address at which no service for events can be.
    Forbidden(&'static str),
}

/// Which addresses the config allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AddressPolicy {
    /// Whether the setting `private_host` says that the host is in a private network.
    pub is_private_host: bool,
    /// Whether the connection is not encrypted.
    pub is_plain: bool,
}

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedAddress {
    /// The address is private, and the config does not name its host in `private_host`.
    #[error(
        "{address} is {what}; if the service is in your own network, set private_host to the host \
         of the URL"
    )]
    Private {
        /// The address.
        address: IpAddr,
        /// What the address is used for.
        what: &'static str,
    },
    /// No service for events can be at the address.
    #[error("{address} is {what}, to which no event is sent")]
    Forbidden {
        /// The address.
        address: IpAddr,
        /// What the address is used for.
        what: &'static str,
    },
    /// The address is public, and the connection would not be encrypted.
    #[error(
        "{address} is an address of the public internet, to which no event is sent unencrypted; \
         use https://"
    )]
    PublicInTheClear {
        /// The address.
        address: IpAddr,
    },
}

const LOOPBACK: Use = Use::Private("a loopback address");
const PRIVATE: Use = Use::Private("a private address");
const LINK_LOCAL: Use = Use::Private("a link-local address");
const SHARED: Use = Use::Private("an address of carrier-grade NAT");
const METADATA: Use = Use::Forbidden("the address of a metadata service, which holds credentials");
const UNSPECIFIED: Use = Use::Forbidden("an unspecified address, which means this machine");
const MULTICAST: Use = Use::Forbidden("a multicast address");
const RESERVED: Use = Use::Forbidden("a reserved address");
const TUNNEL: Use = Use::Forbidden("an address of an obsolete tunnel, which hides another one");

/// The addresses at which machines of cloud providers find their credentials. The first is that of
/// AWS, Google, Azure and others, the second that of the tasks of AWS, the third that of the pods
/// of AWS, the fourth that of Alibaba, the fifth that of Oracle, the sixth that of Scaleway, and
/// the last a further one of Azure, which is in a public block.
const METADATA_V4: [Ipv4Addr; 7] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(169, 254, 42, 42),
    Ipv4Addr::new(168, 63, 129, 16),
];

/// The IPv6 addresses of the same services: for the machines of AWS, the pods of AWS, Google, and
/// Scaleway.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

impl AddressPolicy {
    /// Checks all addresses of a host. One refused address refuses the host, because a connection
    /// may go to any of its addresses.
    pub fn check(self, addresses: &[IpAddr]) -> Result<(), RefusedAddress> {
        addresses
            .iter()
            .try_for_each(|address| self.check_one(*address))
    }

    fn check_one(self, address: IpAddr) -> Result<(), RefusedAddress> {
        match classify(address) {
            Use::Forbidden(what) => Err(RefusedAddress::Forbidden { address, what }),
            Use::Private(what) if !self.is_private_host => {
                Err(RefusedAddress::Private { address, what })
            }
            Use::Public if self.is_plain => Err(RefusedAddress::PublicInTheClear { address }),
            Use::Private(_) | Use::Public => Ok(()),
        }
    }
}

/// Returns what an address is used for, according to the registries of special addresses
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>, and the same for IPv6).
fn classify(address: IpAddr) -> Use {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

fn classify_v4(address: Ipv4Addr) -> Use {
    if METADATA_V4.contains(&address) {
        return METADATA;
    }
    match address.octets() {
        [0, ..] => UNSPECIFIED,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => PRIVATE,
        [100, 64..=127, ..] => SHARED,
        [127, ..] => LOOPBACK,
        [169, 254, ..] => LINK_LOCAL,
        // Reserved for protocols, documentation (three blocks), relays of 6to4, and measurements.
        [192, 0, 0 | 2, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..] => RESERVED,
        [224..=239, ..] => MULTICAST,
        // Reserved for future use. The last of these addresses is the broadcast address.
        [240..=255, ..] => RESERVED,
        _ => Use::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> Use {
    if METADATA_V6.contains(&address) {
        return METADATA;
    }
    // Packets to an IPv6 address that contains an IPv4 address go to that IPv4 address.
    if let Some(inner) = embedded_v4(address) {
        return classify_v4(inner);
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => UNSPECIFIED,
        [0, 0, 0, 0, 0, 0, 0, 1] => LOOPBACK,
        [0xfc00..=0xfdff, ..] => PRIVATE,
        [0xfe80..=0xfebf, ..] => LINK_LOCAL,
        // The site-local addresses of RFC 3513, which older networks still have.
        [0xfec0..=0xfeff, ..] => PRIVATE,
        // NAT64 within one network (RFC 8215). It is not known which bits are the IPv4 address, so
        // the whole block counts as private.
        [0x64, 0xff9b, 1, ..] => PRIVATE,
        [0xff00..=0xffff, ..] => MULTICAST,
        // Teredo, a tunnel to an IPv4 address.
        [0x2001, 0, ..] => TUNNEL,
        // Reserved for other protocols (2001::/23) and documentation (two blocks).
        [0x2001, 1..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => RESERVED,
        [0x2000..=0x3fff, ..] => Use::Public,
        // No other addresses are assigned for the public internet.
        _ => RESERVED,
    }
}

/// Returns the IPv4 address that an IPv6 address stands for: mapped (`::ffff:0:0/96`), compatible
/// (`::/96`, obsolete), translated (`::ffff:0:0:0/96`), NAT64 (`64:ff9b::/96`) and 6to4
/// (`2002::/16`).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match address.segments() {
        // `::` and `::1` are addresses of IPv6 itself, and contain no IPv4 address.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => return None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Some(Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests;
