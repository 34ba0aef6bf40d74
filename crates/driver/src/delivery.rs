//! A message in flight. Settling consumes the delivery, so that it can be settled only once.

use async_trait::async_trait;
use bytes::Bytes;

use crate::Fault;

/// One broker message in flight: a batch of envelopes, as the bytes that arrived.
///
/// A delivery that is dropped without being settled returns to its queue.
pub struct Delivery {
    /// The message.
    pub bytes: Bytes,
    /// Whether the broker reports that the message was delivered before. `false` does not prove a
    /// first delivery.
    pub redelivered: bool,
    /// The queue from which the broker dead-lettered the message, when the message comes from the
    /// dead-letter queue and the broker named that queue.
    pub died_in: Option<String>,
    settler: Box<dyn Settler>,
}

/// How a driver settles one delivery. Dropping an unused settler releases the message.
#[async_trait]
pub trait Settler: Send {
    /// See [`Delivery::ack`].
    async fn ack(self: Box<Self>) -> Result<(), Fault>;

    /// See [`Delivery::release`].
    async fn release(self: Box<Self>) -> Result<(), Fault>;
}

impl Delivery {
    /// Creates a delivery from a driver's message.
    pub fn new(
        bytes: Bytes,
        redelivered: bool,
        died_in: Option<String>,
        settler: Box<dyn Settler>,
    ) -> Self {
        Self {
            bytes,
            redelivered,
            died_in,
            settler,
        }
    }

    /// Acknowledges: the broker may delete the message. `Ok` means that the acknowledgement is on
    /// its way; if it is lost, the message is redelivered. A fault means that the message is
    /// redelivered.
    pub async fn ack(self) -> Result<(), Fault> {
        self.settler.ack().await
    }

    /// Returns the message to its queue, to be redelivered to any consumer.
    pub async fn release(self) -> Result<(), Fault> {
        self.settler.release().await
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("bytes", &self.bytes.len())
            .field("redelivered", &self.redelivered)
            .finish_non_exhaustive()
    }
}
