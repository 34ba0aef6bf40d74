//! A message in flight, its settlement, and the subscription that delivered it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hookbox_driver::{Delivery, Fault, FaultKind, Settler, Subscription};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long closing a subscription waits until its last settlements are written; the RabbitMQ
/// driver has the same limit. The limit lets a process end even while another process has the file
/// locked.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// A message that the keeper has taken for the subscription, and that is not settled yet.
pub(crate) struct InFlight {
    pub(crate) id: i64,
    pub(crate) bytes: Bytes,
    pub(crate) redelivered: bool,
    pub(crate) died_in: Option<String>,
    /// Set when the lease is lost: another subscription has taken the message.
    pub(crate) lost: Arc<AtomicBool>,
}

/// What a consumer sends to the keeper: the settlement of one message, which is given by its id, or
/// a request to flush.
pub(crate) enum Settlement {
    Ack(i64),
    Release(i64),
    /// The delivery was dropped without being settled.
    Dropped(i64),
    /// The message was taken from the queue and never received by a consumer.
    PutBack(i64),
    /// Requests a reply when all settlements that were sent before this request are written.
    Flush(oneshot::Sender<()>),
}

/// A subscription: receives the messages that [`crate::broker::keeper`] takes from a queue.
pub(crate) struct QueueSubscription {
    pub(crate) deliveries: mpsc::Receiver<Result<InFlight, Fault>>,
    pub(crate) settlements: mpsc::UnboundedSender<Settlement>,
    /// A fault that `try_next` has received. `try_next` cannot return a fault, so the following
    /// `next` returns it.
    pub(crate) fault: Option<Fault>,
}

#[async_trait]
impl Subscription for QueueSubscription {
    async fn next(&mut self) -> Result<Delivery, Fault> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        loop {
            match self.deliveries.recv().await {
                // The keeper has ended, so the lease of this message is not renewed, and the
                // message is redelivered when the lease ends.
                Some(Ok(_)) if self.settlements.is_closed() => {}
                Some(Ok(message)) => return Ok(self.delivery(message)),
                Some(Err(fault)) => return Err(fault),
                None => {
                    return Err(Fault::plain(
                        FaultKind::Unavailable,
                        "take a message from a subscription that has ended",
                    ));
                }
            }
        }
    }

    fn try_next(&mut self) -> Option<Delivery> {
        if self.fault.is_some() || self.settlements.is_closed() {
            return None;
        }
        match self.deliveries.try_recv().ok()? {
            Ok(message) => Some(self.delivery(message)),
            Err(fault) => {
                self.fault = Some(fault);
                None
            }
        }
    }

    async fn close(mut self: Box<Self>) {
        self.put_back();
        let (reply, answer) = oneshot::channel();
        if self.settlements.send(Settlement::Flush(reply)).is_ok() {
            // Without a reply, the keeper has ended, or another process has locked the file. Then
            // the messages are redelivered when their leases end, which needs no write.
            let _ = timeout(CLOSE_MAX, answer).await;
        }
    }
}

impl QueueSubscription {
    fn delivery(&self, message: InFlight) -> Delivery {
        let settler = MessageSettler {
            id: message.id,
            lost: message.lost,
            settlements: self.settlements.clone(),
            settled: false,
        };
        Delivery::new(
            message.bytes,
            message.redelivered,
            message.died_in,
            Box::new(settler),
        )
    }

    /// Stops receiving messages. Messages that were received and that the consumer has not taken
    /// yet return to the queue.
    fn put_back(&mut self) {
        self.deliveries.close();
        while let Ok(message) = self.deliveries.try_recv() {
            if let Ok(message) = message {
                let _ = self.settlements.send(Settlement::PutBack(message.id));
            }
        }
    }
}

impl Drop for QueueSubscription {
    fn drop(&mut self) {
        self.put_back();
    }
}

/// Settles one message: sends the settlement to the keeper, which writes it in its next
/// transaction.
struct MessageSettler {
    id: i64,
    lost: Arc<AtomicBool>,
    settlements: mpsc::UnboundedSender<Settlement>,
    settled: bool,
}

impl MessageSettler {
    fn settle(&mut self, settle: Settlement) -> Result<(), Fault> {
        self.settled = true;
        if self.lost.load(Ordering::Acquire) {
            return Err(Fault::plain(
                FaultKind::Unavailable,
                "settle a message: its lease was lost",
            ));
        }
        self.settlements.send(settle).map_err(|_| {
            Fault::plain(
                FaultKind::Unavailable,
                "settle a message: its subscription has ended",
            )
        })
    }
}

#[async_trait]
impl Settler for MessageSettler {
    async fn ack(mut self: Box<Self>) -> Result<(), Fault> {
        let id = self.id;
        self.settle(Settlement::Ack(id))
    }

    async fn release(mut self: Box<Self>) -> Result<(), Fault> {
        let id = self.id;
        self.settle(Settlement::Release(id))
    }
}

impl Drop for MessageSettler {
    fn drop(&mut self) {
        if !self.settled {
            let id = self.id;
            let _ = self.settle(Settlement::Dropped(id));
        }
    }
}
