//! Recognises host names and addresses that lead to this machine.

use std::net::IpAddr;

/// Returns whether traffic to the host of a URL stays on this machine. This holds for `localhost`
/// and for an address of the loopback interface. Every other name counts as remote, because it may
/// resolve to another machine later.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in [
            "localhost",
            "LOCALHOST",
            "127.0.0.1",
            "127.8.9.1",
            "::1",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        assert!(is_loopback("::ffff:127.0.0.1"));
        for host in [
            "",
            "0.0.0.0",
            "10.0.0.1",
            "::",
            "localhost.example",
            "localhost.",
            "127.0.0.1.example",
            "rabbitmq",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
