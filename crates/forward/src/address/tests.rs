//! Tests which addresses are refused, in all the forms in which they can be written.

#![allow(clippy::unwrap_used)]

use super::*;

const STRICT: AddressPolicy = AddressPolicy {
    is_private_host: false,
    is_plain: false,
};

const PRIVATE_HOST: AddressPolicy = AddressPolicy {
    is_private_host: true,
    is_plain: false,
};

const IN_THE_CLEAR: AddressPolicy = AddressPolicy {
    is_private_host: true,
    is_plain: true,
};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn allowed(policy: AddressPolicy, text: &str) -> bool {
    policy.check(&[address(text)]).is_ok()
}

#[test]
fn public_addresses_are_allowed() {
    for text in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.1",
        "192.167.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2001:200::1",
        "2a00:1450::1",
        // IPv6 addresses that contain a public IPv4 address.
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
        "2002:101:101::1",
    ] {
        assert!(allowed(STRICT, text), "{text}");
        assert!(allowed(PRIVATE_HOST, text), "{text}");
        assert!(!allowed(IN_THE_CLEAR, text), "{text}");
    }
}

#[test]
fn private_addresses_are_allowed_only_for_a_private_host() {
    for text in [
        "10.0.0.0",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "::1",
        "fc00::1",
        "fdff:ffff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "64:ff9b:1::1",
        // IPv6 addresses that contain a private IPv4 address.
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "::ffff:0:192.168.1.1",
        "64:ff9b::10.0.0.1",
        "2002:0a00:0001::1",
        "2002:7f00:0001::",
    ] {
        assert!(!allowed(STRICT, text), "{text}");
        assert!(allowed(PRIVATE_HOST, text), "{text}");
        assert!(allowed(IN_THE_CLEAR, text), "{text}");
    }
}

#[test]
fn some_addresses_are_never_allowed() {
    for text in [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "169.254.42.42",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:42::42",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "ff02::1",
        "2001::1",
        "2001:1::1",
        "2001:2::1",
        "2001:10::1",
        "2001:db8::1",
        "3fff::1",
        "100::1",
        "4000::1",
        "5f00::1",
    ] {
        for policy in [STRICT, PRIVATE_HOST, IN_THE_CLEAR] {
            assert!(!allowed(policy, text), "{text}");
        }
    }
}

#[test]
fn one_refused_address_refuses_all() {
    let mixed = [address("1.1.1.1"), address("10.0.0.1")];
    let refused = STRICT.check(&mixed).unwrap_err();
    let what = "a private address";
    let address = address("10.0.0.1");
    assert_eq!(refused, RefusedAddress::Private { address, what });
    let text = refused.to_string();
    assert!(
        text.starts_with("10.0.0.1 is a private address; if the service"),
        "{text}"
    );
}
