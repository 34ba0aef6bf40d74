//! One message in flight. Settling consumes it, so it can be settled once only.

use async_trait::async_trait;
use bytes::Bytes;

use crate::Fault;

/// One broker message in flight: a batch of envelopes, bytes as they came.
///
/// A delivery that is dropped unsettled goes back to its queue.
pub struct Delivery {
    /// The message.
    pub bytes: Bytes,
    /// Whether the broker says that it was delivered before. Never "first delivery" for certain.
    pub redelivered: bool,
    /// The queue it was dead-lettered from, when this came out of the dead-letter queue and the
    /// broker named it.
    pub died_in: Option<String>,
    settler: Box<dyn Settler>,
}

/// How a driver settles one delivery. Dropped unused, it releases.
#[async_trait]
pub trait Settler: Send {
    /// See [`Delivery::ack`].
    async fn ack(self: Box<Self>) -> Result<(), Fault>;

    /// See [`Delivery::release`].
    async fn release(self: Box<Self>) -> Result<(), Fault>;
}

impl Delivery {
    /// A delivery of a driver.
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

    /// The broker may forget the message. `Ok` means the acknowledgement is on its way; should it
    /// be lost, the message is redelivered. A fault means that it will be redelivered.
    pub async fn ack(self) -> Result<(), Fault> {
        self.settler.ack().await
    }

    /// Puts the message back, to be delivered again to anyone.
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
