//! The seam to a broker: a trait whose methods are the promises that every broker driver must keep.

use std::error::Error;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use hookbox_event::{Account, Envelope, ReceiptId, RouteName, Topic, Witness, encode_batch};

use crate::{Delivery, Fault};

/// A broker: keeps batches of envelopes until a worker has settled them.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Publishes one batch to the queues of these routes, as one message per queue.
    ///
    /// `Ok` means that the batch is on disk in every one of these queues, so that it survives a
    /// restart of the broker. After an error, it is unknown what was stored: the batch may be in
    /// all of the queues, in some or in none. The call returns within the driver's time limit for
    /// confirms.
    async fn publish(&self, routes: &[RouteName], batch: &Batch) -> Result<(), PublishError>;

    /// Publishes an accept report to the queue of accept reports. `Ok` has the same meaning as for
    /// [`Broker::publish`].
    async fn publish_report(&self, account: &Account) -> Result<(), PublishError>;

    /// Publishes a witness message, which later shows whether the store or the broker was restored.
    /// `Ok` has the same meaning as for [`Broker::publish`]. The witness queue keeps the newest
    /// [`WITNESSES_KEPT`](crate::WITNESSES_KEPT) messages. A broker that only forwards to another
    /// broker, as a spool does, keeps no witness message.
    async fn publish_witness(&self, _witness: &Witness) -> Result<(), PublishError> {
        Err(PublishError::plain(PublishErrorKind::Unroutable))
    }

    /// Returns the witness messages that the broker keeps, in any order. Reading removes none of
    /// them, and concurrent readers see the same messages. A message may be missing from the result
    /// while another reader is reading it. A caller that expects more messages must read again.
    async fn witnesses(&self) -> Result<Vec<Witness>, Fault> {
        Ok(Vec::new())
    }

    /// Starts a subscription to one queue. At most `prefetch` messages of the subscription are
    /// unsettled at a time.
    async fn subscribe(&self, queue: &Queue, prefetch: u16)
    -> Result<Box<dyn Subscription>, Fault>;

    /// Returns how many messages wait in each queue that the driver was opened with, including the
    /// dead-letter queue.
    async fn depths(&self) -> Result<Vec<Depth>, Fault>;

    /// Returns whether the broker would accept a publish now, as far as the driver knows without
    /// publishing anything.
    fn readiness(&self) -> Readiness;

    /// Closes all connections in an orderly way, within the driver's deadlines.
    async fn close(&self);
}

/// A stream of deliveries from one queue.
#[async_trait]
pub trait Subscription: Send {
    /// Waits for the next message. After a fault the subscription has ended, and the caller must
    /// drop it and subscribe again. Cancelling this future loses no message.
    async fn next(&mut self) -> Result<Delivery, Fault>;

    /// Returns the next message if the subscription has received one already, otherwise `None`. It
    /// never waits.
    fn try_next(&mut self) -> Option<Delivery>;

    /// Ends the subscription. Messages that it has received and the caller has not taken return to
    /// the queue. The call waits until the broker has received the settlements that are being sent.
    /// Deliveries that the caller still has can be settled afterwards; if they are not, they are
    /// redelivered.
    async fn close(self: Box<Self>);
}

/// A queue at the broker, identified by what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    /// The queue of a route.
    Route(RouteName),
    /// The queue of messages that never reached a handler: undecodable ones, and those that
    /// exceeded the delivery limit.
    Dead,
    /// The queue of the accept reports of ingests.
    Accounts,
    /// The queue of the store's witness messages. Readers leave every message in it, and no worker
    /// subscribes to it.
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

/// The number of messages that wait in one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depth {
    /// The queue whose messages are counted.
    pub queue: Queue,
    /// The queue's name at the broker.
    pub name: String,
    /// The number of messages that are ready for delivery. A message of a route may contain several
    /// events, so this is not the number of events. `None` when the broker does not report it.
    pub ready: Option<u64>,
    /// The number of messages in flight; `None` when the broker does not report it.
    pub unsettled: Option<u64>,
    /// The number of consumers of the queue; `None` when the broker does not report it.
    pub consumers: Option<u64>,
    /// The number of events in the waiting messages; `None` when the broker does not count events.
    pub events: Option<u64>,
}

/// Whether the broker would accept a publish now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// The broker would accept a publish.
    Ready,
    /// The broker would not accept a publish.
    NotReady {
        /// The class of the reason. The public readiness endpoint shows only this class, and not
        /// `why`.
        kind: NotReadyKind,
        /// The reason, as a text for operators.
        why: String,
    },
}

impl Readiness {
    /// Returns [`Readiness::NotReady`] with this class and text.
    pub fn not_ready(kind: NotReadyKind, why: impl Into<String>) -> Self {
        let why = why.into();
        Readiness::NotReady { kind, why }
    }
}

/// The class of the reason why a broker accepts no publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotReadyKind {
    /// The driver has not opened the broker yet.
    Starting,
    /// There is no connection, or the broker is unresponsive.
    Unreachable,
    /// The broker has a resource alarm.
    Alarm,
    /// A queue is missing, or differs from its declaration.
    Topology,
    /// The broker refuses the published messages, or refuses this user.
    Refused,
    /// The broker's file cannot be written, or is not the file that was opened.
    Storage,
    /// The driver is closing.
    Closing,
}

impl NotReadyKind {
    /// Returns the name of this class in public responses, logs and metrics.
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

/// Envelopes of one topic, encoded as one broker message.
#[derive(Clone)]
pub struct Batch {
    /// The topic of the envelopes.
    pub topic: Topic,
    /// The number of envelopes in the batch.
    pub count: usize,
    /// The receipt id of the first envelope.
    pub first_receipt: ReceiptId,
    /// The bytes of the encoded message.
    pub bytes: Bytes,
}

impl Batch {
    /// Encodes envelopes as a batch; returns `None` for an empty slice.
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
    /// Encodes an accept report as a message. Accept reports name receipts and contain no event.
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
    /// Encodes a witness as a message. Witness messages contain no event.
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

/// Why a publish failed. Whatever the reason is, the batch must not count as accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublishErrorKind {
    /// The broker rejected the batch, because a queue is full or has no leader.
    Rejected,
    /// The broker has no queue for the batch: a queue that should be declared is missing.
    Unroutable,
    /// The broker did not confirm within the deadline. It may have stored the batch.
    TimedOut,
    /// The broker has a resource alarm and accepts nothing.
    Blocked,
    /// There is no connection, or it was lost during the publish. The broker may have stored the
    /// batch.
    Unavailable,
}

impl PublishErrorKind {
    /// Returns the name of this reason in logs and metrics.
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

/// The error of a publish. The batch must not count as accepted, and it is unknown whether the
/// broker has stored it.
#[derive(Debug)]
pub struct PublishError {
    /// The reason why the batch was not accepted.
    pub kind: PublishErrorKind,
    /// The underlying error, where there is one.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl PublishError {
    /// Creates an error without an underlying error.
    pub fn plain(kind: PublishErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Creates an error with its underlying error.
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
            PublishErrorKind::Rejected => "the broker rejected the batch",
            PublishErrorKind::Unroutable => "the route's queue does not exist",
            PublishErrorKind::TimedOut => "the broker did not confirm the batch in time",
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
