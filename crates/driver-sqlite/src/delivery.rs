//! A message in flight, and the subscription that delivered it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hookbox_driver::{Delivery, Fault, FaultKind, Settler, Subscription};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::keeper::{InFlight, Settlement};

/// How long a closing subscription waits until its last settlements are written, as long as one of
/// RabbitMQ does. A process that ends must not wait for another process that has the file locked.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// A subscription: receives the messages that [`crate::keeper`] takes from a queue.
pub(crate) struct QueueSubscription {
    pub(crate) deliveries: mpsc::Receiver<Result<InFlight, Fault>>,
    pub(crate) settlements: mpsc::UnboundedSender<Settlement>,
    /// A fault that `try_next` received; `next` returns it.
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
                // The keeper has ended, so the lease of this message is not renewed: the message is
                // redelivered when the lease ends.
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
            // No reply means that the keeper has ended, or that another process has locked the
            // file. Leases end without a write.
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

    /// Takes no more messages, and returns received messages that no consumer has to the queue.
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
