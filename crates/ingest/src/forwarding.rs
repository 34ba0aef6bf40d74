//! Reads what trusted proxies report about a request: the client's address, and whether the request
//! was received over https.
//!
//! A client may send these headers itself, and each proxy appends to them on the right. So they are
//! read from the right, past the addresses of trusted proxies, up to the first other address. Text
//! to the left of that address comes from the client and is not read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName};

use crate::Network;
use crate::forwarded_header::elements;

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What the forwarding headers of a request say about its client and protocol.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Forwarding {
    /// The client's address, if the headers contain it.
    pub client: Option<IpAddr>,
    /// Whether the headers report https; `None` if they do not name the protocol.
    pub is_https: Option<bool>,
}

/// Reads the forwarding headers of a request that a trusted proxy has sent.
///
/// Most proxies write either `Forwarded` or the `X-Forwarded-` headers, and pass on the other kind
/// as the client wrote it. So if both are present they must agree: a client address on which they
/// differ is not used, and https counts only if neither kind reports plain HTTP.
pub(crate) fn forwarding(headers: &HeaderMap, proxies: &[Network]) -> Forwarding {
    let standard = of_forwarded(headers, proxies);
    let usual = Forwarding {
        client: of_x_forwarded_for(headers, proxies),
        is_https: of_x_forwarded_proto(headers),
    };
    let client = match (standard.client, usual.client) {
        (Some(one), Some(other)) if one != other => None,
        (one, other) => one.or(other),
    };
    let is_https = match (standard.is_https, usual.is_https) {
        (Some(one), Some(other)) => Some(one && other),
        (one, other) => one.or(other),
    };
    Forwarding { client, is_https }
}

fn of_forwarded(headers: &HeaderMap, proxies: &[Network]) -> Forwarding {
    let mut found = Forwarding::default();
    for line in headers.get_all(FORWARDED).iter().rev() {
        let Some(elements) = line.to_str().ok().and_then(elements) else {
            found.is_https = Some(false);
            return found;
        };
        for element in elements.into_iter().rev() {
            let proto = element.proto.as_deref();
            found.is_https = proto.map(|proto| proto.eq_ignore_ascii_case("https"));
            match element.from.as_deref().and_then(address) {
                Some(address) => found.client = Some(address),
                None => return found,
            }
            if !is_proxy(found.client, proxies) {
                return found;
            }
        }
    }
    found
}

fn of_x_forwarded_for(headers: &HeaderMap, proxies: &[Network]) -> Option<IpAddr> {
    let mut client = None;
    for line in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        let Ok(line) = line.to_str() else {
            return client;
        };
        for entry in line.rsplit(',') {
            if entry.trim().is_empty() {
                continue;
            }
            let Some(address) = address(entry.trim()) else {
                return client;
            };
            client = Some(address);
            if !is_proxy(client, proxies) {
                return client;
            }
        }
    }
    client
}

/// Returns whether every value is https. Several values come from several proxies, or from the
/// client and a proxy, so all of them must be https.
fn of_x_forwarded_proto(headers: &HeaderMap) -> Option<bool> {
    let mut lines = headers.get_all(X_FORWARDED_PROTO).iter().peekable();
    lines.peek()?;
    let https = |entry: &str| entry.trim().eq_ignore_ascii_case("https");
    Some(lines.all(|line| line.to_str().is_ok_and(|text| text.split(',').all(https))))
}

fn is_proxy(address: Option<IpAddr>, proxies: &[Network]) -> bool {
    address.is_some_and(|address| proxies.iter().any(|proxy| proxy.contains(address)))
}

/// Parses an address with or without a port; an IPv6 address with a port is in brackets.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let address = IpAddr::from(address.parse::<Ipv6Addr>().ok()?);
            (address.to_canonical(), port)
        }
        None => {
            let colon = text.find(':')?;
            let address = text[..colon].parse::<Ipv4Addr>().ok()?;
            (address.into(), &text[colon..])
        }
    };
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    is_port.then_some(address)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
