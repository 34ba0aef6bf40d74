//! A message in hand, and the subscription it came from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hookbox_driver::{Delivery, Fault, FaultKind, Settler, Subscription};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::keeper::{Hand, Settle};

/// How long a subscription that ends waits for its last words to be written: as long as one of
/// RabbitMQ waits. A process that is to end must not wait for whoever has the file locked.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// What [`crate::keeper`] hands out.
pub(crate) struct Taking {
    pub(crate) hands: mpsc::Receiver<Result<Hand, Fault>>,
    pub(crate) settles: mpsc::UnboundedSender<Settle>,
    /// A fault that `try_next` met, for `next` to tell.
    pub(crate) fault: Option<Fault>,
}

#[async_trait]
impl Subscription for Taking {
    async fn next(&mut self) -> Result<Delivery, Fault> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        loop {
            match self.hands.recv().await {
                // With the keeper gone nobody renews this lease: it comes again by itself.
                Some(Ok(_)) if self.settles.is_closed() => {}
                Some(Ok(hand)) => return Ok(self.delivery(hand)),
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
        if self.fault.is_some() || self.settles.is_closed() {
            return None;
        }
        match self.hands.try_recv().ok()? {
            Ok(hand) => Some(self.delivery(hand)),
            Err(fault) => {
                self.fault = Some(fault);
                None
            }
        }
    }

    async fn close(mut self: Box<Self>) {
        self.put_back();
        let (reply, answer) = oneshot::channel();
        if self.settles.send(Settle::Flush(reply)).is_ok() {
            // Without an answer the keeper has ended, or somebody else has the file; leases run out
            // by themselves.
            let _ = timeout(CLOSE_MAX, answer).await;
        }
    }
}

impl Taking {
    fn delivery(&self, hand: Hand) -> Delivery {
        let settler = Settling {
            id: hand.id,
            lost: hand.lost,
            settles: self.settles.clone(),
            settled: false,
        };
        Delivery::new(
            hand.bytes,
            hand.redelivered,
            hand.died_in,
            Box::new(settler),
        )
    }

    /// Takes nothing more, and gives back what was not handed out.
    fn put_back(&mut self) {
        self.hands.close();
        while let Ok(hand) = self.hands.try_recv() {
            if let Ok(hand) = hand {
                let _ = self.settles.send(Settle::PutBack(hand.id));
            }
        }
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.put_back();
    }
}

/// How one message is settled: by a word to the keeper, who writes it in its next transaction.
struct Settling {
    id: i64,
    lost: Arc<AtomicBool>,
    settles: mpsc::UnboundedSender<Settle>,
    settled: bool,
}

impl Settling {
    fn settle(&mut self, settle: Settle) -> Result<(), Fault> {
        self.settled = true;
        if self.lost.load(Ordering::Acquire) {
            return Err(Fault::plain(
                FaultKind::Unavailable,
                "settle a message: its lease was lost",
            ));
        }
        self.settles.send(settle).map_err(|_| {
            Fault::plain(
                FaultKind::Unavailable,
                "settle a message: its subscription has ended",
            )
        })
    }
}

#[async_trait]
impl Settler for Settling {
    async fn ack(mut self: Box<Self>) -> Result<(), Fault> {
        let id = self.id;
        self.settle(Settle::Ack(id))
    }

    async fn release(mut self: Box<Self>) -> Result<(), Fault> {
        let id = self.id;
        self.settle(Settle::Release(id))
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        if !self.settled {
            let id = self.id;
            let _ = self.settle(Settle::Dropped(id));
        }
    }
}
