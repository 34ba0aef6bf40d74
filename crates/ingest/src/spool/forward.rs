//! From the spool to the broker: one message of a queue after the other, each until it is
//! confirmed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hookbox_crash::crash_point;
use hookbox_driver::{Batch, Delivery, PublishError, Queue, Readiness, Subscription, describe};
use hookbox_event::{Account, Envelope, ReceiptId, Topic, decode_batch};

use super::{Shared, waiting};
use crate::counters::add;

/// Messages of a queue in hand. They are forwarded one by one; taking them together spares the
/// disk a sync for each.
const PREFETCH: u16 = 32;

/// How often it is looked whether the broker is back, and whether the spool is empty.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Forwards one queue until it is time to stop.
pub(super) async fn forward(shared: Arc<Shared>, queue: Queue) {
    let stop = shared.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = in_order(&shared, &queue) => {}
    }
}

async fn in_order(shared: &Shared, queue: &Queue) {
    loop {
        // What a process that died had in hand comes again when its lease is over, and it is
        // older than everything else.
        if !is_whole(shared, queue).await {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        match shared.spool.subscribe(queue, PREFETCH).await {
            Ok(subscription) => all_of(shared, queue, subscription).await,
            Err(fault) => {
                tracing::warn!(error = describe(&fault), "the spool cannot be read now");
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether nobody has a message of the queue in hand.
async fn is_whole(shared: &Shared, queue: &Queue) -> bool {
    let Ok(depths) = shared.look().await else {
        return false;
    };
    let own = depths.iter().find(|depth| depth.queue == *queue);
    own.is_some_and(|depth| depth.unsettled == Some(0))
}

/// Returns when the subscription breaks. What is in hand then comes again.
async fn all_of(shared: &Shared, queue: &Queue, mut subscription: Box<dyn Subscription>) {
    loop {
        let delivery = match subscription.next().await {
            Ok(delivery) => delivery,
            Err(fault) => {
                tracing::warn!(error = describe(&fault), "the spool cannot be read now");
                return;
            }
        };
        if *queue == Queue::Accounts {
            // Everything that an account tells of was kept before it.
            while !are_routes_empty(shared).await {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        if !one(shared, queue, delivery).await {
            return;
        }
    }
}

async fn are_routes_empty(shared: &Shared) -> bool {
    let Ok(depths) = shared.look().await else {
        return false;
    };
    depths.iter().all(|depth| match depth.queue {
        Queue::Route(_) => waiting(depth) == 0,
        Queue::Dead | Queue::Accounts => true,
    })
}

/// Until the broker has confirmed it; `false` when the spool does not forget it.
async fn one(shared: &Shared, queue: &Queue, delivery: Delivery) -> bool {
    let (bytes, mut told) = (delivery.bytes.clone(), false);
    loop {
        if shared.broker.readiness() == Readiness::Ready {
            crash_point!("spool.before_forward");
            match publish(shared, queue, &bytes).await {
                Ok(events) => {
                    crash_point!("spool.after_forward");
                    add(&shared.counters.forwarded, events);
                    break;
                }
                Err(error) if !told => {
                    told = true;
                    tracing::warn!(
                        kind = error.kind.as_str(),
                        error = describe(&error),
                        "the broker did not take a message of the spool; it is tried again"
                    );
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    match delivery.ack().await {
        Ok(()) => {
            crash_point!("spool.after_forget");
            true
        }
        Err(fault) => {
            // It will be forwarded once more, and is the same receipts.
            tracing::info!(
                error = describe(&fault),
                "the spool did not forget a message"
            );
            false
        }
    }
}

/// Gives one message to the broker; answers how many events it was.
async fn publish(shared: &Shared, queue: &Queue, bytes: &Bytes) -> Result<u64, PublishError> {
    match queue {
        Queue::Route(route) => {
            let batch = batch(bytes);
            let routes = std::slice::from_ref(route);
            shared.broker.publish(routes, &batch).await?;
            Ok(batch.count as u64)
        }
        Queue::Accounts => match Account::decode(bytes) {
            Ok(account) => shared.broker.tell(&account).await.map(|()| 0),
            Err(error) => {
                tracing::error!(
                    error = describe(&error),
                    "an account in the spool cannot be read; the books will name what it told of"
                );
                Ok(0)
            }
        },
        Queue::Dead => Ok(0),
    }
}

/// The batch that was kept. Bytes that are none go as they are: the worker keeps them as a dead
/// letter, as it does with whatever it cannot read.
fn batch(bytes: &Bytes) -> Batch {
    let frames = decode_batch(bytes).unwrap_or_default();
    let envelopes: Vec<&Envelope> = frames.iter().flatten().collect();
    let first = envelopes.first();
    Batch {
        topic: first.map_or_else(Topic::unreadable, |first| first.topic.clone()),
        count: envelopes.len(),
        first_receipt: first.map_or(ReceiptId::from_bytes([0; 16]), |first| first.receipt),
        bytes: bytes.clone(),
    }
}

/// Ends the keeping when all that was kept is forwarded.
pub(super) async fn watch(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if !shared.counters.spooling.load(Ordering::SeqCst) {
            continue;
        }
        // Nobody is about to keep something while this is held.
        let _nobody_keeps = shared.keeping.write().await;
        let Ok(depths) = shared.look().await else {
            continue;
        };
        let is_empty = depths.iter().all(|depth| waiting(depth) == 0);
        if is_empty && shared.broker.readiness() == Readiness::Ready {
            shared.counters.spooling.store(false, Ordering::SeqCst);
            tracing::info!("all that was kept in the spool is forwarded");
        }
    }
}
