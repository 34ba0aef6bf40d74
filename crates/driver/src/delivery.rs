//! A message in flight. Settling takes the delivery by value, so a delivery can be settled only
//! once.

use async_trait::async_trait;
use bytes::Bytes;

use crate::Fault;

/// A broker message in flight: a batch of envelopes, as the bytes that arrived.
///
/// A delivery that is dropped without being settled returns to its queue.
pub struct Delivery {
    /// The bytes of the message, as they arrived.
    pub bytes: Bytes,
    /// Whether the broker reports that the message was delivered before. `false` does not prove
    /// that this is the first delivery.
    pub redelivered: bool,
    /// The queue from which the broker moved the message to the dead-letter queue. `None` for a
    /// message that is not in the dead-letter queue, and also if the broker does not report the
    /// first queue.
    pub died_in: Option<String>,
    settler: Box<dyn Settler>,
}

/// The part of a delivery that each driver implements: it settles the delivery. When it is dropped
/// unused, the message returns to its queue.
#[async_trait]
pub trait Settler: Send {
    /// Acknowledges the delivery; see [`Delivery::ack`].
    async fn ack(self: Box<Self>) -> Result<(), Fault>;

    /// Puts the message back into its queue; see [`Delivery::release`].
    async fn release(self: Box<Self>) -> Result<(), Fault>;
}

impl Delivery {
    /// Creates a delivery from a message that a driver has received.
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

    /// Acknowledges the delivery, so that the broker may delete the message. `Ok` means that the
    /// acknowledgement was sent. If it is lost on its way, or after a fault, the message is
    /// redelivered.
    pub async fn ack(self) -> Result<(), Fault> {
        self.settler.ack().await
    }

    /// Puts the message back into its queue, from which it is redelivered to any consumer.
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
