//! Decides which peers may send requests when TLS ends at a proxy, and finds the client of a
//! request.

use std::net::IpAddr;

use http::HeaderMap;

use crate::Network;
use crate::forwarding::forwarding;
use crate::response::NotAccepted;

/// The peers that may send to an ingest. If both lists are empty, every peer may send, and its own
/// address is that of the client.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    /// Proxies that terminate TLS and report the client. A request from another peer is refused,
    /// and so is a request that a proxy did not receive over https.
    pub trusted_proxies: Vec<Network>,
    /// Peers whose requests are accepted although they came over plain HTTP, for example for a
    /// trial.
    pub plain_http_from: Vec<Network>,
}

impl Peers {
    /// Returns whether a peer is a proxy, which opens connections for many clients.
    pub(crate) fn is_proxy(&self, peer: IpAddr) -> bool {
        contains(&self.trusted_proxies, peer)
    }

    /// Returns the client of a request, and whether the request may be accepted. A request is
    /// refused if at least one list is set and neither contains its peer. It is also refused if a
    /// trusted proxy does not report that it received the request over https, unless
    /// `plain_http_from` contains the proxy. If no proxy header names the client, the peer is the
    /// client.
    pub(crate) fn client(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> (IpAddr, Result<(), NotAccepted>) {
        let peer = peer.to_canonical();
        let is_plain = contains(&self.plain_http_from, peer);
        if !self.is_proxy(peer) {
            let is_any = self.trusted_proxies.is_empty() && self.plain_http_from.is_empty();
            let may_send = if is_any || is_plain {
                Ok(())
            } else {
                Err(NotAccepted::UntrustedPeer)
            };
            return (peer, may_send);
        }
        let said = forwarding(headers, &self.trusted_proxies);
        let may_send = if said.is_https == Some(true) || is_plain {
            Ok(())
        } else {
            Err(NotAccepted::NotHttps)
        };
        (said.client.unwrap_or(peer), may_send)
    }
}

fn contains(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderName, HeaderValue};

    use super::*;

    const NONE: &[&str] = &[];

    fn client(
        (proxies, plain): (&[&str], &[&str]),
        peer: &str,
        lines: &[(&'static str, &'static str)],
    ) -> (String, Result<(), NotAccepted>) {
        let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let peers = Peers {
            trusted_proxies: networks(proxies),
            plain_http_from: networks(plain),
        };
        let lines = lines.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        let (client, may_send) = peers.client(peer.parse().unwrap(), &lines.collect());
        (client.to_string(), may_send)
    }

    const HTTPS: (&str, &str) = ("x-forwarded-proto", "https");
    const FOR: (&str, &str) = ("x-forwarded-for", "203.0.113.9, 192.0.2.1");

    #[test]
    fn without_proxies_every_peer_is_a_client_and_headers_say_nothing() {
        let found = client(
            (NONE, NONE),
            "198.51.100.1",
            &[FOR, ("x-forwarded-proto", "http")],
        );
        assert_eq!(found, ("198.51.100.1".to_owned(), Ok(())));
    }

    #[test]
    fn a_proxy_must_be_listed_and_say_https() {
        let proxies: (&[&str], &[&str]) = (&["10.99.99.0/24"], NONE);
        for (peer, lines, expect) in [
            ("10.99.99.1", vec![HTTPS, FOR], ("192.0.2.1", Ok(()))),
            ("::ffff:10.99.99.1", vec![HTTPS, FOR], ("192.0.2.1", Ok(()))),
            ("10.99.99.1", vec![HTTPS], ("10.99.99.1", Ok(()))),
            (
                "10.99.99.1",
                vec![FOR],
                ("192.0.2.1", Err(NotAccepted::NotHttps)),
            ),
            (
                "10.99.99.1",
                vec![("x-forwarded-proto", "http")],
                ("10.99.99.1", Err(NotAccepted::NotHttps)),
            ),
            (
                "127.0.0.1",
                vec![HTTPS, FOR],
                ("127.0.0.1", Err(NotAccepted::UntrustedPeer)),
            ),
        ] {
            let expect = (expect.0.to_owned(), expect.1);
            assert_eq!(client(proxies, peer, &lines), expect, "{peer} {lines:?}");
        }
    }

    #[test]
    fn plain_http_is_accepted_from_where_the_config_says() {
        let plain: &[&str] = &["172.16.0.0/12"];
        let both: (&[&str], &[&str]) = (&["172.17.0.1"], plain);
        let found = client(both, "172.17.0.1", &[]);
        assert_eq!(found, ("172.17.0.1".to_owned(), Ok(())));
        let found = client(both, "172.17.0.1", &[FOR]);
        assert_eq!(found, ("192.0.2.1".to_owned(), Ok(())));
        // The peer 172.17.0.2 is not a trusted proxy, so its headers about a client are ignored.
        let found = client(both, "172.17.0.2", &[HTTPS, FOR]);
        assert_eq!(found, ("172.17.0.2".to_owned(), Ok(())));
        let (_, may_send) = client((NONE, plain), "127.0.0.1", &[]);
        assert_eq!(may_send, Err(NotAccepted::UntrustedPeer));
    }
}
