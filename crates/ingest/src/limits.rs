//! Every limit of an ingest, with the reason for its value.

use std::time::Duration;

/// The limits of one ingest process.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest body in bytes. Webhooks are smaller, and RabbitMQ 4 refuses more than 16 MiB.
    pub body_max: usize,
    /// The time from the first byte of a request's head to its last. This deadline stops
    /// slow-header attacks. An idle connection is closed after the same time while another
    /// connection waits for a place.
    pub head_deadline: Duration,
    /// How long a connection may be idle, that is without a byte of a request since it was opened
    /// or since its last answer. It is longer than the idle time-out of load balancers (ALB and
    /// nginx: 60 s), so that they close first: a request that is sent while hookbox closes its
    /// connection gets no answer.
    pub idle_deadline: Duration,
    /// The time for reading a whole body.
    pub body_deadline: Duration,
    /// The slowest allowed rate of a body in bytes per second, after the first
    /// [`Limits::body_grace`]. A real sender on a bad line is far faster; one byte per second is an
    /// attack.
    pub body_rate_min: usize,
    /// How long a body may be slower than the minimum rate, because connections start slowly.
    pub body_grace: Duration,
    /// The time from the end of a request's head to its answer. Reading the body and waiting for
    /// the confirm have earlier deadlines of their own. This deadline limits everything else.
    pub request_deadline: Duration,
    /// How long the peer may read nothing of an answer before the connection is closed. An answer
    /// is a few hundred bytes, so a genuine sender reads it at once.
    pub write_deadline: Duration,
    /// The most headers that one request may have. Proxies add about a dozen.
    pub headers_max: usize,
    /// The largest head of a request in bytes, which is what the HTTP parser may buffer.
    pub head_bytes_max: usize,
    /// The most connections that may be open at once, besides [`Limits::HEALTH_CONNECTIONS`]. Each
    /// costs a file descriptor and at most the memory of one head and one body.
    pub connections_max: usize,
    /// The most connections that may be open at once from one address, so that one sender cannot
    /// take all of them. Trusted proxies are exempt from this limit.
    pub connections_per_address_max: usize,
    /// The time for completing a TLS handshake.
    pub tls_deadline: Duration,
    /// The most bytes of bodies that may be in memory at once, over all connections. A byte counts
    /// once it has arrived, and not when `Content-Length` announces it.
    pub body_bytes_in_flight_max: usize,
    /// The most accepted requests that may wait for the broker's confirm at once.
    pub waiting_max: usize,
    /// How long a request waits for its confirm. It is longer than the broker's own deadline, and
    /// shorter than the shortest known time-out of a provider (3 s).
    pub confirm_deadline: Duration,
    /// The number of publish slots, which is the number of batches being published at once. While
    /// one batch waits for the broker's fsync, others are sent.
    pub publish_slots: usize,
    /// The most envelopes in one batch: enough to share an fsync, few enough for one transaction.
    pub batch_max: usize,
    /// The most bytes in one batch. A body that is larger is published in a batch of its own.
    pub batch_bytes_max: usize,
}

impl Limits {
    /// The largest allowed value of [`Limits::body_max`], in bytes: the 16 MiB that RabbitMQ 4
    /// accepts, less 1 MiB for the headers of a message.
    pub const BODY_MAX_CAP: usize = 15 * 1024 * 1024;

    /// The largest size of a small body, in bytes. Nearly every webhook is small, so a part of the
    /// memory is reserved for small bodies.
    pub const SMALL_BODY_MAX: usize = 16 * 1024;

    /// The denominator of the fraction of [`Limits::body_bytes_in_flight_max`] that is reserved for
    /// small bodies: 4 stands for a quarter.
    pub const SMALL_BODY_RESERVE: usize = 4;

    /// The denominator of the largest fraction that one address may take of the connections, and of
    /// the memory for unverified bodies: 16 stands for a sixteenth. So an attacker needs sixteen
    /// addresses to take all connections or all of that memory.
    pub const ADDRESS_SHARE: usize = 16;

    /// Extra connections that are admitted for a health check only. A health check is one small
    /// request, and a machine has few clients that send them.
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
