//! Every limit of the HTTP side, with the reason beside the number.

use std::time::Duration;

/// The limits of one ingest process.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest body in bytes. Webhooks are small; RabbitMQ 4 refuses messages over 16 MiB.
    pub body_max: usize,
    /// From the first byte of a request's head to its end. It ends slow-header attacks. An idle
    /// connection is closed after as long, too, while another one waits for its place.
    pub head_deadline: Duration,
    /// How long a connection may be idle: since it was opened or since its last answer, without a
    /// byte of a request. Longer than load balancers keep theirs (ALB and nginx: 60 s), so that
    /// they close first: a request sent on a connection that is being closed has no answer.
    pub idle_deadline: Duration,
    /// To read a whole body.
    pub body_deadline: Duration,
    /// Slowest body, in bytes a second, after the first [`Limits::body_grace`]. A real sender on
    /// a bad line is far faster; one byte a second is an attack.
    pub body_rate_min: usize,
    /// How long a body may be slow: connections start slowly.
    pub body_grace: Duration,
    /// From the end of a request's head to its answer. Reading and confirming have deadlines of
    /// their own that end earlier; this one limits everything else.
    pub request_deadline: Duration,
    /// How long the peer may accept nothing of an answer. Answers are a few hundred bytes: a peer
    /// that does not read them for so long only keeps the connection busy.
    pub write_deadline: Duration,
    /// Most headers of one request. Proxies add a dozen.
    pub headers_max: usize,
    /// Largest head in bytes: what the parser may buffer.
    pub head_bytes_max: usize,
    /// Connections at once, besides [`Limits::HEALTH_CONNECTIONS`]. Each costs a file descriptor
    /// and at most one head and one body.
    pub connections_max: usize,
    /// Connections at once from one address, so that one sender cannot take all of them. Trusted
    /// proxies are not limited by it.
    pub connections_per_address_max: usize,
    /// To complete a TLS handshake.
    pub tls_deadline: Duration,
    /// Bytes of bodies in memory at once, over all connections; bytes count once they have arrived,
    /// not when they are announced.
    pub body_bytes_in_flight_max: usize,
    /// Accepted requests that wait for their confirm at once.
    pub waiting_max: usize,
    /// How long a request waits for its confirm. Longer than the broker's own deadline, and shorter
    /// than the shortest known time-out of a provider (3 s).
    pub confirm_deadline: Duration,
    /// Publish slots: publishes under way at once. Each is a batch; two fill a fsync while one
    /// waits for it.
    pub publish_slots: usize,
    /// Envelopes of one batch: enough to share a fsync, few enough for one transaction.
    pub batch_max: usize,
    /// Bytes of one batch. A body larger than this travels alone.
    pub batch_bytes_max: usize,
}

impl Limits {
    /// Largest value of [`Limits::body_max`]: 16 MiB less room for the headers of a message.
    pub const BODY_MAX_CAP: usize = 15 * 1024 * 1024;

    /// Largest body for which memory is reserved. Nearly every webhook is smaller.
    pub const SMALL_BODY_MAX: usize = 16 * 1024;

    /// Which part of [`Limits::body_bytes_in_flight_max`] is reserved for them: a quarter.
    pub const SMALL_BODY_RESERVE: usize = 4;

    /// Which part of the connections, and of the memory for bodies that are not verified, one
    /// address has at most: a sixteenth. So sixteen addresses are needed to take all.
    pub const ADDRESS_SHARE: usize = 16;

    /// Connections besides all others that are let in for a health check. A health check is one
    /// small request, and a machine has few clients that send them.
    pub const HEALTH_CONNECTIONS: usize = 32;

    /// The default values.
    pub fn standard() -> Self {
        Self {
            body_max: 1024 * 1024,
            head_deadline: Duration::from_secs(5),
            idle_deadline: Duration::from_secs(75),
            body_deadline: Duration::from_secs(10),
            body_rate_min: 1024,
            body_grace: Duration::from_secs(2),
            request_deadline: Duration::from_secs(15),
            write_deadline: Duration::from_secs(5),
            headers_max: 64,
            head_bytes_max: 32 * 1024,
            connections_max: 4096,
            connections_per_address_max: 4096 / Self::ADDRESS_SHARE,
            tls_deadline: Duration::from_secs(5),
            body_bytes_in_flight_max: 64 * 1024 * 1024,
            waiting_max: 4096,
            confirm_deadline: Duration::from_millis(2_800),
            publish_slots: 4,
            batch_max: 64,
            batch_bytes_max: 256 * 1024,
        }
    }
}
