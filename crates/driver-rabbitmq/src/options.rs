//! The options for connecting to a RabbitMQ broker, and every deadline.

use std::time::Duration;

use hookbox_driver::ExpectedIdentity;
use hookbox_event::{EnvironmentName, RouteName};

/// Which brokers without an identity stamp get one. This matters only if the config has an identity
/// key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamping {
    /// Only brokers without messages. If a broker has messages, the ids of their events may have
    /// been computed without the identity key.
    WithoutMessages,
    /// All brokers. Use this if the store has the stamp of the identity key: then the ids in the
    /// broker's messages were computed with this key, and the broker has lost its stamp.
    All,
    /// No broker. Use this if the store's stamp is not known: the ids of the store's events may
    /// have been computed without the identity key.
    None,
}

/// The options for connecting to a broker. `Debug` does not show the URL, because it may hold a
/// password.
#[derive(Clone)]
pub struct Options {
    /// The URL: `amqp://user:password@host:port/vhost`, or `amqps://…`. For a cluster, it has
    /// several hosts, separated by commas.
    pub url: String,
    /// The URL of the management API, `http://host:15672` or `https://…`, through which the
    /// policies and the members of the queues are checked. The URL may have an account of its own;
    /// otherwise the account of `url` is used. Without this URL, policies and members are not
    /// checked.
    pub management: Option<String>,
    /// The environment, which is a part of every queue's name, so that two environments never share
    /// a queue.
    pub environment: EnvironmentName,
    /// Which identity stamp the broker must have. By default it must have none, because ids are
    /// computed without an identity key.
    pub identity: ExpectedIdentity,
    /// Which brokers without an identity stamp get one. The default is those without messages.
    pub stamping: Stamping,
    /// The routes whose queues hookbox declares and publishes to.
    pub routes: Vec<RouteName>,
    /// Whether the command only reads from the broker. If so, an unresponsive management API is
    /// only logged as a warning, and the driver does not check whether the user may publish.
    pub reads_only: bool,
    /// The deadline for the confirm of a batch. It is shorter than the time after which any known
    /// provider gives up on a request.
    pub confirm_deadline: Duration,
    /// The deadline for connecting, logging in and verifying the queues.
    pub connect_deadline: Duration,
    /// The deadline for the first byte of AMQP that the server sends. It is checked over a plain
    /// socket before the client library connects. So a broker that accepts the connection without
    /// answering costs one short-lived socket, and no thread of the client library.
    pub preflight_deadline: Duration,
    /// The deadline for closing a connection. It is needed because the broker does not answer on a
    /// connection that it has blocked.
    pub close_deadline: Duration,
    /// How long a subscription without a message in flight waits for a message before it is renewed
    /// (H22). A renewal costs three requests to the broker.
    pub renew_after: Duration,
    /// The heartbeat interval in seconds. A dead connection is noticed after two intervals without
    /// a heartbeat.
    pub heartbeat_seconds: u16,
    /// The largest frame in bytes. The broker may propose 0, which means no limit. Without this
    /// limit, the driver would then allocate buffers of gigabytes.
    pub frame_bytes_max: u32,
    /// The number of publishing channels. One task owns each of them.
    pub publish_channels: usize,
    /// How many messages one channel publishes at most before it waits for their confirms. The
    /// default is 32, because RabbitMQ slows down a channel that has 32 unconfirmed messages.
    pub round_max: usize,
    /// How many messages may be in flight to the broker, that is, handed to the publishers and not
    /// confirmed yet. The limit is needed because the client library's own queue has no limit.
    pub in_flight_max: usize,
    /// How many bytes the messages that are not confirmed yet may have in total.
    pub in_flight_bytes_max: usize,
}

impl Options {
    /// Returns the default options for one broker, one environment and the given routes.
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
            identity: ExpectedIdentity::Plain,
            stamping: Stamping::WithoutMessages,
            routes,
            confirm_deadline: Duration::from_millis(2_500),
            connect_deadline: Duration::from_secs(5),
            preflight_deadline: Duration::from_secs(2),
            close_deadline: Duration::from_secs(2),
            renew_after: Duration::from_secs(60),
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
