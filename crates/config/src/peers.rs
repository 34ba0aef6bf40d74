//! The settings that say from which networks a listener without TLS accepts webhooks.

use std::net::SocketAddr;

use hookbox_ingest::{Network, Peers};

use super::file::Ingest;
use super::place::Places;

const PROXIES: &str = "/ingest/trusted_proxies";
const PLAIN: &str = "/ingest/plain_http_from";

/// Checks the networks. A listener on an address other than loopback needs TLS, trusted proxies, or
/// networks that may send plain HTTP.
pub fn check(given: &Ingest, listen: Option<SocketAddr>, places: &mut Places) -> Option<Peers> {
    let trusted_proxies = networks(PROXIES, &given.trusted_proxies, places);
    let plain_http_from = networks(PLAIN, &given.plain_http_from, places);
    let is_whole = ["/ingest/tls", PROXIES, PLAIN]
        .iter()
        .all(|at| places.is_whole(at));
    if given.tls.is_some() && !given.plain_http_from.is_empty() {
        places.mistake(
            PLAIN,
            "with tls set, the listener receives nothing over plain HTTP, so this has no effect",
        );
    }
    let is_open = listen.is_some_and(|listen| !listen.ip().is_loopback());
    let is_bare =
        given.tls.is_none() && given.trusted_proxies.is_empty() && given.plain_http_from.is_empty();
    if is_open && is_whole && is_bare {
        places.mistake(
            "/ingest/listen",
            "a listener that is not on loopback needs tls = { certificate, key }, or \
             trusted_proxies that terminate TLS",
        );
    }
    Some(Peers {
        trusted_proxies: trusted_proxies?,
        plain_http_from: plain_http_from?,
    })
}

fn networks(at: &str, given: &[String], places: &mut Places) -> Option<Vec<Network>> {
    let mut networks = Vec::new();
    for (index, text) in given.iter().enumerate() {
        let network = text
            .parse::<Network>()
            .map_err(|_| format!("{text:?} is not an address or a network, such as 10.0.0.0/8"));
        networks.push(places.take(&format!("{at}/{index}"), network));
    }
    let networks: Vec<Network> = networks.into_iter().collect::<Option<_>>()?;
    if Network::are_everything(&networks) {
        let what = "the list contains every address, so any peer would be trusted to say who sent \
                    a request and that it came over https; name the addresses of your proxies";
        let plain = "the list contains every address, so any peer could send over plain HTTP; name \
                     the addresses that may do so";
        places.mistake(at, if at == PROXIES { what } else { plain });
        return None;
    }
    Some(networks)
}
