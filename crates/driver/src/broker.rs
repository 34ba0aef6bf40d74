//! What a broker must promise.

use std::error::Error;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use hookbox_event::{Account, Envelope, ReceiptId, RouteName, Topic, Witness, encode_batch};

use crate::{Delivery, Fault};

/// A broker: keeps batches of envelopes until a worker has settled them.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Publishes one batch to the queue of each of these routes, as one message each.
    ///
    /// `Ok` means: in every one of these queues, on disk, so that it survives a restart of the
    /// broker. Anything else is an error, and after an error the outcome is unknown: the batch
    /// may be in any of the queues or in none. It returns within the driver's confirm deadline.
    async fn publish(&self, routes: &[RouteName], batch: &Batch) -> Result<(), PublishError>;

    /// Publishes an accept report to the queue of accept reports, with the same promise.
    async fn publish_report(&self, account: &Account) -> Result<(), PublishError>;

    /// Publishes a witness beside those that are kept, with the same promise. The newest
    /// [`WITNESSES_KEPT`](crate::WITNESSES_KEPT) stay. A broker that only stands before another
    /// one keeps none.
    async fn publish_witness(&self, _witness: &Witness) -> Result<(), PublishError> {
        Err(PublishError::plain(PublishErrorKind::Unroutable))
    }

    /// The witnesses that are kept, in any order. They stay, and other readers at the same time see
    /// them, too. Only one that another reader has at each of several moments may be missing: a
    /// caller who expects more reads again.
    async fn witnesses(&self) -> Result<Vec<Witness>, Fault> {
        Ok(Vec::new())
    }

    /// Starts taking messages of one queue, with at most `prefetch` of them unsettled at a time.
    async fn subscribe(&self, queue: &Queue, prefetch: u16)
    -> Result<Box<dyn Subscription>, Fault>;

    /// How much waits in each queue of this environment that the driver was opened with, the
    /// dead-letter queue included.
    async fn depths(&self) -> Result<Vec<Depth>, Fault>;

    /// Whether a publish would be accepted now, as far as is known without trying.
    fn readiness(&self) -> Readiness;

    /// Ends all connections in an orderly way, within the driver's deadlines.
    async fn close(&self);
}

/// A stream of deliveries from one queue.
#[async_trait]
pub trait Subscription: Send {
    /// The next message. A fault ends the subscription: drop it and subscribe again. Cancelling
    /// this future loses no message.
    async fn next(&mut self) -> Result<Delivery, Fault>;

    /// The next message, if one is already in flight to this subscription.
    fn try_next(&mut self) -> Option<Delivery>;

    /// Stops taking messages, returns what was taken and not handed out to the queue, and lets
    /// settlements that are on their way arrive. Deliveries that are still in flight can be settled
    /// afterwards; otherwise they are redelivered.
    async fn close(self: Box<Self>);
}

/// A queue, by what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    /// The queue of a route.
    Route(RouteName),
    /// What never reached a handler: undecodable messages, and those over the delivery limit.
    Dead,
    /// The accept reports of ingests.
    Accounts,
    /// The witnesses of the store. It is read in place, and nothing subscribes to it.
    Witness,
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Queue::Route(route) => write!(f, "route.{route}"),
            Queue::Dead => f.write_str("dead"),
            Queue::Accounts => f.write_str("accounts"),
            Queue::Witness => f.write_str("witness"),
        }
    }
}

/// How much waits in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depth {
    /// Which queue.
    pub queue: Queue,
    /// Its name at the broker.
    pub name: String,
    /// Messages ready for delivery; each is a batch. `None` where the broker does not report it.
    pub ready: Option<u64>,
    /// Messages in flight. `None` where the broker does not report it.
    pub unsettled: Option<u64>,
    /// Consumers. `None` where the broker does not report it.
    pub consumers: Option<u64>,
    /// Events in those messages, where the broker counts them.
    pub events: Option<u64>,
}

/// Whether the broker would accept a publish now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It would.
    Ready,
    /// It would not.
    NotReady {
        /// The class of the reason: all that is shown in public.
        kind: NotReadyKind,
        /// The reason, as a text for operators.
        why: String,
    },
}

impl Readiness {
    /// Not ready, for this reason.
    pub fn not_ready(kind: NotReadyKind, why: impl Into<String>) -> Self {
        let why = why.into();
        Readiness::NotReady { kind, why }
    }
}

/// Why a broker accepts nothing, by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotReadyKind {
    /// It has not been opened yet.
    Starting,
    /// There is no connection, or the broker is unresponsive.
    Unreachable,
    /// It has a resource alarm.
    Alarm,
    /// A queue is missing or not as declared.
    Topology,
    /// It refuses what is published, or this user.
    Refused,
    /// The file cannot be written, or is not the one that was opened.
    Storage,
    /// The driver is closing.
    Closing,
}

impl NotReadyKind {
    /// The name in public responses, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            NotReadyKind::Starting => "starting",
            NotReadyKind::Unreachable => "unreachable",
            NotReadyKind::Alarm => "alarm",
            NotReadyKind::Topology => "topology",
            NotReadyKind::Refused => "refused",
            NotReadyKind::Storage => "storage",
            NotReadyKind::Closing => "closing",
        }
    }
}

/// Envelopes of one topic, encoded as one message.
#[derive(Clone)]
pub struct Batch {
    /// Their topic.
    pub topic: Topic,
    /// How many there are.
    pub count: usize,
    /// The receipt of the first.
    pub first_receipt: ReceiptId,
    /// The message.
    pub bytes: Bytes,
}

impl Batch {
    /// Writes a batch; `None` when there is nothing to write.
    pub fn of(envelopes: &[Envelope]) -> Option<Self> {
        let first = envelopes.first()?;
        Some(Self {
            topic: first.topic.clone(),
            count: envelopes.len(),
            first_receipt: first.receipt,
            bytes: encode_batch(envelopes),
        })
    }
}

impl Batch {
    /// An accept report as a message. It refers to events, and holds none.
    pub fn of_account(account: &Account) -> Self {
        let receipts = account.accepted.iter().flat_map(|it| &it.receipts);
        Self {
            topic: Topic::of_accounts(),
            count: 0,
            first_receipt: receipts
                .copied()
                .next()
                .unwrap_or(ReceiptId::from_bytes([0; 16])),
            bytes: account.encode(),
        }
    }
}

impl Batch {
    /// A witness as a message. It holds no event.
    pub fn of_witness(witness: &Witness) -> Self {
        Self {
            topic: Topic::of_witnesses(),
            count: 0,
            first_receipt: ReceiptId::from_bytes([0; 16]),
            bytes: witness.encode(),
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("topic", &self.topic)
            .field("count", &self.count)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Why a publish was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublishErrorKind {
    /// The broker rejected it (a queue is full, or has no leader).
    Rejected,
    /// The broker has no such queue: the topology is broken.
    Unroutable,
    /// No confirm within the deadline. It may have been stored.
    TimedOut,
    /// The broker has an alarm and accepts nothing.
    Blocked,
    /// There is no connection, or it was lost during the publish. It may have been stored.
    Unavailable,
}

impl PublishErrorKind {
    /// The name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            PublishErrorKind::Rejected => "rejected",
            PublishErrorKind::Unroutable => "unroutable",
            PublishErrorKind::TimedOut => "timed_out",
            PublishErrorKind::Blocked => "blocked",
            PublishErrorKind::Unavailable => "unavailable",
        }
    }
}

/// A batch that was not accepted; whether it was stored all the same is unknown.
#[derive(Debug)]
pub struct PublishError {
    /// Why.
    pub kind: PublishErrorKind,
    /// The cause, where there is one.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl PublishError {
    /// An error without a further cause.
    pub fn plain(kind: PublishErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error with its cause.
    pub fn new(kind: PublishErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.kind {
            PublishErrorKind::Rejected => "the broker rejected it",
            PublishErrorKind::Unroutable => "the route's queue does not exist",
            PublishErrorKind::TimedOut => "the broker did not confirm it in time",
            PublishErrorKind::Blocked => "the broker has a resource alarm",
            PublishErrorKind::Unavailable => "the broker is not reachable",
        };
        write!(f, "the batch was not accepted: {why}")
    }
}

impl Error for PublishError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
