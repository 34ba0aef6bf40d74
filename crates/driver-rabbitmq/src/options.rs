//! How to reach a broker, and every deadline on the way.

use std::time::Duration;

use hookbox_event::{EnvironmentName, RouteName};

/// Options of a broker. `Debug` does not show the URL: it may hold a password.
#[derive(Clone)]
pub struct Options {
    /// `amqp://user:password@host:port/vhost`, or `amqps://…`. Of a cluster, several hosts with
    /// commas between them.
    pub url: String,
    /// `http://host:15672` or `https://…` of the management API, through which policies and
    /// members are looked at; with an account of its own, or that of `url`. Without it, they are
    /// not.
    pub management: Option<String>,
    /// Part of every queue's name, so that two environments never share one.
    pub environment: EnvironmentName,
    /// The routes whose queues are declared and published to.
    pub routes: Vec<RouteName>,
    /// For commands that only read: an unresponsive management API is logged as a warning, and it
    /// is not tried whether publishing is allowed.
    pub reads_only: bool,
    /// To have a batch confirmed. Under every provider's time-out that we know of.
    pub confirm_deadline: Duration,
    /// To connect, log in and verify the queues.
    pub connect_deadline: Duration,
    /// Until the first byte of AMQP. A broker that accepts the connection and does not answer costs
    /// one short-lived socket this way, not a thread of the client library.
    pub preflight_deadline: Duration,
    /// To close a connection; a blocked one never answers.
    pub close_deadline: Duration,
    /// Heartbeat in seconds; a dead connection is noticed after two.
    pub heartbeat_seconds: u16,
    /// Largest frame in bytes. Without it a broker's value of 0 leads to buffers of gigabytes.
    pub frame_bytes_max: u32,
    /// Publishing channels, each owned by one task.
    pub publish_channels: usize,
    /// Messages of one confirm round of a channel: RabbitMQ slows a channel down at 32.
    pub round_max: usize,
    /// Messages handed to the publishers and not confirmed. The client's own queue has no bound.
    pub in_flight_max: usize,
    /// Bytes of those messages.
    pub in_flight_bytes_max: usize,
}

impl Options {
    /// The values to start from.
    pub fn new(
        url: impl Into<String>,
        environment: EnvironmentName,
        routes: Vec<RouteName>,
    ) -> Self {
        Self {
            url: url.into(),
            management: None,
            reads_only: false,
            environment,
            routes,
            confirm_deadline: Duration::from_millis(2_500),
            connect_deadline: Duration::from_secs(5),
            preflight_deadline: Duration::from_secs(2),
            close_deadline: Duration::from_secs(2),
            heartbeat_seconds: 10,
            frame_bytes_max: 131_072,
            publish_channels: 3,
            round_max: 32,
            in_flight_max: 4096,
            in_flight_bytes_max: 64 * 1024 * 1024,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("environment", &self.environment)
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}
