//! The options for reaching a broker, and every deadline.

use std::time::Duration;

use hookbox_event::{EnvironmentName, RouteName};

/// The options of a broker. `Debug` does not show the URL, because the URL may hold a password.
#[derive(Clone)]
pub struct Options {
    /// The URL: `amqp://user:password@host:port/vhost`, or `amqps://…`. For a cluster, it has
    /// several hosts, separated by commas.
    pub url: String,
    /// The URL of the management API, `http://host:15672` or `https://…`, through which policies
    /// and members are checked. It may have its own account; otherwise that of `url` is used.
    /// Without this URL, they are not checked.
    pub management: Option<String>,
    /// A part of every queue's name, so that two environments never share a queue.
    pub environment: EnvironmentName,
    /// The routes whose queues are declared and published to.
    pub routes: Vec<RouteName>,
    /// Whether the command only reads. Then an unresponsive management API is only logged as a
    /// warning, and the right to publish is not checked.
    pub reads_only: bool,
    /// The deadline for the confirm of a batch, shorter than the time-out of every known provider.
    pub confirm_deadline: Duration,
    /// The deadline for connecting, logging in and verifying the queues.
    pub connect_deadline: Duration,
    /// The deadline for the first byte of AMQP. With it, a broker that accepts the connection
    /// without answering costs one short-lived socket, and no thread of the client library.
    pub preflight_deadline: Duration,
    /// The deadline for closing a connection, because a blocked one never answers.
    pub close_deadline: Duration,
    /// The heartbeat interval in seconds. A dead connection is noticed after two heartbeats.
    pub heartbeat_seconds: u16,
    /// The largest frame in bytes. Without this limit, a broker's value of 0 leads to buffers of
    /// gigabytes.
    pub frame_bytes_max: u32,
    /// The number of publishing channels. One task owns each of them.
    pub publish_channels: usize,
    /// The most messages in one round of a channel: RabbitMQ slows a channel down at 32.
    pub round_max: usize,
    /// The most messages that were passed to the publishers and are not confirmed. The client
    /// library's own queue has no limit.
    pub in_flight_max: usize,
    /// The most bytes in those messages.
    pub in_flight_bytes_max: usize,
}

impl Options {
    /// Returns the default options.
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
