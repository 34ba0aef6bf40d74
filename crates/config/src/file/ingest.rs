//! The structs for `[ingest]`.

use serde::Deserialize;

#[cfg(test)]
use crate::{
    check, pattern, spool,
    units::{duration_text, size_text},
};
#[cfg(test)]
use hookbox_ingest::Limits;

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    /// Address and port. Off loopback, `tls` or `trusted_proxies` is needed, or for a trial
    /// `plain_http_from`.
    #[cfg_attr(test, schemars(extend("default" = check::LISTEN)))]
    pub listen: Option<String>,
    /// The certificate of the listener. Off loopback it is needed, unless `trusted_proxies` or, for
    /// a trial, `plain_http_from` is set. See "Secrets".
    pub tls: Option<Tls>,
    /// Addresses or networks of the proxies in front, which do the TLS and say so: see "Behind a
    /// proxy". A request of another peer, or one without https, is refused. A list that holds every
    /// address, such as `0.0.0.0/0`, is refused.
    #[cfg_attr(test, schemars(length(min = 1)))]
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    /// Addresses or networks that may send over plain HTTP, without a proxy that does TLS: for a
    /// trial, since the requests can be read and recorded on the network. A list that holds every
    /// address is refused.
    #[cfg_attr(test, schemars(length(min = 1)))]
    #[serde(default)]
    pub plain_http_from: Vec<String>,
    /// Largest body, at most 15 MiB; more is answered with 413.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::SIZE),
        extend("default" = size_text(Limits::standard().body_max)),
    ))]
    pub body_max: Option<String>,
    /// Bodies in memory at once, together; more is answered with 503. See "Shares".
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::SIZE),
        extend("default" = size_text(Limits::standard().body_bytes_in_flight_max)),
    ))]
    pub bodies_max: Option<String>,
    /// How long a connection is kept without a request, 5 s to 2 h: longer than the load balancer
    /// in front keeps its idle connections (ALB and nginx: 60 s), since a request that it sends on
    /// a connection that is just being closed gets a 502 and is lost where the sender does not send
    /// it again. While every place in `connections` or `connections_per_address` is taken,
    /// connections that have been idle for 5 s are closed, also those with verified requests. The
    /// head of a request has 5 s from its first byte.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::DURATION),
        extend("default" = duration_text(Limits::standard().idle_deadline)),
    ))]
    pub idle: Option<String>,
    /// Connections at once, beside 32 for health checks. See "Shares".
    #[cfg_attr(test, schemars(
        range(min = 1, max = 65_535),
        extend("default" = Limits::standard().connections_max),
    ))]
    pub connections: Option<usize>,
    /// Connections at once from one address (IPv6: one /64); `trusted_proxies` have no such limit.
    ///
    /// Default: a sixteenth of `connections` (256).
    #[cfg_attr(test, schemars(range(min = 1, max = 65_535)))]
    pub connections_per_address: Option<usize>,
    /// Accepted requests that wait for the broker at once; more is answered with 503.
    #[cfg_attr(test, schemars(
        range(min = 1, max = 65_535),
        extend("default" = Limits::standard().waiting_max),
    ))]
    pub waiting: Option<usize>,
    /// How long `/readyz` is red at the beginning of a drain while requests are still taken, so
    /// that a balancer stops sending before a connection is refused: a little more than it takes to
    /// notice. At most half of `drain`, which it is a part of; without a balancer it would only
    /// delay the shutdown.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::DURATION),
        extend("default" = duration_text(check::DRAIN_LEAD)),
    ))]
    pub drain_lead: Option<String>,
    /// `sqlite:PATH`, a file of its own beside this ingest: events that the broker cannot take now
    /// are stored there, answered 200, and forwarded when it is available again. Without it they
    /// are answered 503. See "Store and forward".
    pub spool: Option<String>,
    /// What the spool may hold, at least 16 MiB; more is answered with 503.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::SIZE),
        extend("default" = size_text(spool::STANDARD)),
    ))]
    pub spool_max: Option<String>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The path of the certificate chain, as PEM; relative to the config's folder.
    pub certificate: String,
    /// The path of its key, as PEM; relative to the config's folder. It must be a regular file of
    /// at most 64 KiB.
    pub key: String,
    /// `"any"`, where it is known and accepted who can read the key, so that a mode over 0640 is
    /// not warned of.
    #[cfg_attr(test, schemars(extend("enum" = ["any"])))]
    pub mode: Option<String>,
}
