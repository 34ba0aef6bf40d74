//! Stores refusals for operators, in the background, so that no request waits until its refusal is
//! stored. Of a request, only what is safe to show is stored.

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{Ledger, Refusal, describe};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Counters;
use crate::counters::add;

/// The most refusals that wait to be stored. An attack makes thousands a second. The first thousand
/// of each second are enough for operators to recognise the attack; the others are only counted.
const WAITING_MAX: usize = 1_000;

/// How often waiting refusals are stored.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the last write of refusals may take at a shutdown. The time is short, because the write
/// is one small transaction.
const LAST_WRITE: Duration = Duration::from_secs(1);

pub(crate) struct Refusals {
    sender: Option<mpsc::Sender<Refusal>>,
    counters: Arc<Counters>,
}

impl Refusals {
    pub fn start(
        tasks: &TaskTracker,
        ledger: Option<Arc<dyn Ledger>>,
        counters: Arc<Counters>,
        stop: CancellationToken,
    ) -> Self {
        let sender = ledger.map(|ledger| {
            let (sender, receiver) = mpsc::channel(WAITING_MAX);
            tasks.spawn(keep(ledger, receiver, stop, Arc::clone(&counters)));
            sender
        });
        Self { sender, counters }
    }

    pub fn note(&self, refusal: Refusal) {
        if let Some(sender) = &self.sender
            && sender.try_send(refusal).is_err()
        {
            add(&self.counters.refusals_dropped, 1);
        }
    }
}

async fn keep(
    ledger: Arc<dyn Ledger>,
    mut receiver: mpsc::Receiver<Refusal>,
    stop: CancellationToken,
    counters: Arc<Counters>,
) {
    let mut logged = false;
    loop {
        let stopping = tokio::select! {
            () = stop.cancelled() => true,
            () = tokio::time::sleep(INTERVAL) => false,
        };
        let mut waiting = Vec::new();
        while let Ok(refusal) = receiver.try_recv() {
            waiting.push(refusal);
        }
        if !waiting.is_empty() {
            let kept = tokio::select! {
                kept = ledger.keep_refusals(&waiting) => kept,
                () = late(&stop) => {
                    add(&counters.refusals_dropped, waiting.len() as u64);
                    return;
                }
            };
            match kept {
                Ok(()) => logged = false,
                Err(fault) => {
                    add(&counters.refusals_dropped, waiting.len() as u64);
                    if !logged {
                        tracing::warn!(
                            error = describe(&fault),
                            "the store is unavailable: refusals are counted and not stored"
                        );
                    }
                    logged = true;
                }
            }
        }
        if stopping {
            return;
        }
    }
}

/// Waits until `stop` is cancelled, and then for [`LAST_WRITE`]. A write that takes longer is given
/// up, because an unavailable store must not delay the shutdown of a process.
async fn late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_WRITE).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::Ordering;

    use hookbox_event::{ReceiptId, Timestamp};

    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let (sender, mut receiver) = mpsc::channel(2);
        let refusals = Refusals {
            sender: Some(sender),
            counters: Arc::default(),
        };
        for number in 1..=5 {
            refusals.note(Refusal {
                request: ReceiptId::from_bytes([number; 16]),
                source: "begini".into(),
                reason: "missing_header".into(),
                body_digest: None,
                body_bytes: 0,
                peer: "127.0.0.1".into(),
                at: Timestamp::from_unix_micros(0),
            });
        }
        let dropped = &refusals.counters.refusals_dropped;
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
        let first = receiver.try_recv().unwrap().request;
        assert_eq!(
            first,
            ReceiptId::from_bytes([1; 16]),
            "the first refusals must be stored, and later ones that do not fit must be dropped"
        );
        assert!(receiver.try_recv().is_ok());
        assert!(receiver.try_recv().is_err());
    }
}
