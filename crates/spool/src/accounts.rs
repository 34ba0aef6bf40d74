//! Forwards accept reports from the spool to the broker, one at a time and in their order. Each
//! accept report is forwarded after all events that it covers.

use std::sync::Arc;

use hookbox_crash::crash_point;
use hookbox_driver::{Delivery, Fault, Queue, Subscription, describe};
use hookbox_event::Account;
use tokio::time::sleep;

use super::forward::log_once;
use super::forwarding_queue::ForwardingQueue;
use super::pause::Pause;
use super::publishing::covered;
use super::shared::{CHECK_INTERVAL, PREFETCH, Shared};

/// Forwards accept reports until the process stops.
pub(super) async fn forward(shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = in_order(&shared) => {}
    }
}

async fn in_order(shared: &Shared) {
    let queue = Queue::Accounts;
    let Some(forwarding) = shared.queues.get(&queue) else {
        return;
    };
    let mut logged = String::new();
    loop {
        shared.until_whole(&queue).await;
        let ended = match shared.spool.subscribe(&queue, PREFETCH).await {
            Ok(subscription) => all_of(shared, forwarding, subscription).await,
            Err(fault) => Err(fault),
        };
        forwarding.rests();
        if let Err(fault) = ended {
            log_once(&mut logged, &fault);
        }
        sleep(CHECK_INTERVAL).await;
    }
}

/// Forwards all accept reports of one subscription, and ends when the subscription fails. The
/// accept reports that were in flight are then redelivered.
async fn all_of(
    shared: &Shared,
    forwarding: &ForwardingQueue,
    mut subscription: Box<dyn Subscription>,
) -> Result<(), Fault> {
    loop {
        let delivery = match subscription.try_next() {
            Some(delivery) => delivery,
            None => {
                forwarding.rests();
                subscription.next().await?
            }
        };
        match Account::decode(&delivery.bytes) {
            Ok(account) => one(shared, forwarding, &account, delivery).await?,
            Err(error) => {
                tracing::error!(
                    error = describe(&error),
                    "an accept report in the spool cannot be decoded; `hookbox reconcile` will \
                     list its sequence numbers as unreported"
                );
                delivery.ack().await?;
            }
        }
    }
}

/// Forwards one accept report until the broker has confirmed it. The reports behind it wait, also
/// those that cover other routes: if they overtook it, its range of sequence numbers would count as
/// unreported.
async fn one(
    shared: &Shared,
    forwarding: &ForwardingQueue,
    account: &Account,
    delivery: Delivery,
) -> Result<(), Fault> {
    // Every event is spooled before the accept report that covers it. So once the spool has no
    // events of these routes left, all events that the accept report covers were forwarded.
    let covered = covered(account);
    if shared.gate.is_any_spooling(&covered) {
        forwarding.holds();
        shared.gate.until_forwarded(&covered).await;
    }
    let mut pause = Pause::default();
    loop {
        shared.until_ready().await;
        crash_point!("spool.before_forward");
        match shared.broker.publish_report(account).await {
            Ok(()) => {
                crash_point!("spool.after_forward");
                delivery.ack().await?;
                crash_point!("spool.after_forget");
                forwarding.moved(1);
                return Ok(());
            }
            Err(error) => {
                forwarding.holds();
                if pause.is_first() {
                    tracing::warn!(
                        kind = error.kind.as_str(),
                        error = describe(&error),
                        "the broker did not take an accept report from the spool; the accept \
                         report is tried again"
                    );
                }
                sleep(pause.next()).await;
            }
        }
    }
}
