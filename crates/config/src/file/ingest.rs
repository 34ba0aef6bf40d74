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
    /// The address and port at which webhooks are received. An address other than loopback needs
    /// `tls` or `trusted_proxies`, or, for a trial, `plain_http_from`.
    #[cfg_attr(test, schemars(extend("default" = check::LISTEN)))]
    pub listen: Option<String>,
    /// The certificate of the listener. An address other than loopback needs it, unless
    /// `trusted_proxies` or, for a trial, `plain_http_from` is set. See "Secrets".
    pub tls: Option<Tls>,
    /// Addresses or networks of the proxies in front of hookbox, which terminate TLS and say so in
    /// each request: see "Behind a proxy". A request from another peer, and a request that did not
    /// come over https, is refused. A list that contains every address, such as `0.0.0.0/0`, is
    /// refused.
    #[cfg_attr(test, schemars(length(min = 1)))]
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    /// Addresses or networks that may send over plain HTTP, without a proxy that terminates TLS.
    /// This is for a trial only, because the requests can be read and recorded on the network. A
    /// list that contains every address is refused.
    #[cfg_attr(test, schemars(length(min = 1)))]
    #[serde(default)]
    pub plain_http_from: Vec<String>,
    /// The largest body of a request, at most 15 MiB. A larger body is answered with 413.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::SIZE),
        extend("default" = size_text(Limits::standard().body_max)),
    ))]
    pub body_max: Option<String>,
    /// The most memory for the bodies of all requests together. A request beyond that is answered
    /// with 503. See "Shares".
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::SIZE),
        extend("default" = size_text(Limits::standard().body_bytes_in_flight_max)),
    ))]
    pub bodies_max: Option<String>,
    /// How long a connection is kept without a request, 5 s to 2 h. This must be longer than the
    /// load balancer in front keeps its idle connections (ALB and nginx: 60 s): a request that the
    /// balancer sends on a connection that is just being closed gets a 502, and is lost if the
    /// sender does not send it again. While every place in `connections` or
    /// `connections_per_address` is taken, connections that have been idle for 5 s are closed, also
    /// those with verified requests. The head of a request must arrive within 5 s of its first
    /// byte.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::DURATION),
        extend("default" = duration_text(Limits::standard().idle_deadline)),
    ))]
    pub idle: Option<String>,
    /// The most connections at once, in addition to 32 for health checks. See "Shares".
    #[cfg_attr(test, schemars(
        range(min = 1, max = 65_535),
        extend("default" = Limits::standard().connections_max),
    ))]
    pub connections: Option<usize>,
    /// The most connections at once from one address (IPv6: from one /64 network). The addresses in
    /// `trusted_proxies` have no such limit.
    ///
    /// Default: a sixteenth of `connections` (256).
    #[cfg_attr(test, schemars(range(min = 1, max = 65_535)))]
    pub connections_per_address: Option<usize>,
    /// The most accepted requests that wait for the broker at once. A request beyond that is
    /// answered with 503.
    #[cfg_attr(test, schemars(
        range(min = 1, max = 65_535),
        extend("default" = Limits::standard().waiting_max),
    ))]
    pub waiting: Option<usize>,
    /// How long `/readyz` is red at the beginning of a drain while requests are still accepted, so
    /// that a load balancer stops sending before a connection is refused. This should be a little
    /// longer than the balancer needs to notice it. It is a part of `drain`, and at most half of
    /// it. Without a balancer it would only delay the shutdown.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::DURATION),
        extend("default" = duration_text(check::DRAIN_LEAD)),
    ))]
    pub drain_lead: Option<String>,
    /// `sqlite:PATH`, a separate file on the machine of this ingest. Events that the broker cannot
    /// take now are stored in it, answered 200, and forwarded when the broker is available again.
    /// Without a spool they are answered 503. See "Store and forward".
    pub spool: Option<String>,
    /// The most bytes that the spool may contain, at least 16 MiB. Events beyond that are answered
    /// with 503.
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
    /// The path of the certificate chain in PEM format, relative to the config's folder.
    pub certificate: String,
    /// The path of the certificate's private key in PEM format, relative to the config's folder. It
    /// must be a regular file of at most 64 KiB.
    pub key: String,
    /// `"any"` declares that the permissions of the file of the key are intended. A mode of the
    /// file above 0640 then causes no warning.
    #[cfg_attr(test, schemars(extend("enum" = ["any"])))]
    pub mode: Option<String>,
}
