//! Forwards accept reports from the spool to the broker, one at a time. Each accept report is
//! forwarded after all events that it covers.

use std::sync::Arc;

use bytes::Bytes;
use hookbox_crash::crash_point;
use hookbox_driver::{Delivery, Fault, PublishError, Queue, Subscription, describe};
use hookbox_event::Account;
use tokio::time::sleep;

use super::forward::log_once;
use super::pause::Pause;
use super::shared::{CHECK_INTERVAL, PREFETCH, Shared};

/// Forwards accept reports until the process stops.
pub(super) async fn forward(shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    let forwarding = async {
        let mut logged = String::new();
        loop {
            shared.until_whole(&Queue::Accounts).await;
            let ended = match shared.spool.subscribe(&Queue::Accounts, PREFETCH).await {
                Ok(subscription) => all_of(&shared, subscription).await,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = ended {
                log_once(&mut logged, &fault);
            }
            sleep(CHECK_INTERVAL).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = forwarding => {}
    }
}

/// Forwards all accept reports of one subscription, and ends when the subscription fails. The
/// accept reports that were in flight are then redelivered.
async fn all_of(shared: &Shared, mut subscription: Box<dyn Subscription>) -> Result<(), Fault> {
    loop {
        let mut in_flight = vec![subscription.next().await?];
        while let Some(delivery) = subscription.try_next() {
            in_flight.push(delivery);
        }
        // Every event is spooled before the accept report that covers it. So once the spool has no
        // events left, all events that the spooled accept reports cover were forwarded.
        while !shared
            .contents()
            .await
            .is_ok_and(|left| left.of_routes == 0)
        {
            sleep(CHECK_INTERVAL).await;
        }
        for delivery in in_flight {
            one(shared, delivery).await?;
        }
    }
}

/// Forwards one accept report until the broker has confirmed it.
async fn one(shared: &Shared, delivery: Delivery) -> Result<(), Fault> {
    let mut pause = Pause::default();
    loop {
        shared.until_ready().await;
        crash_point!("spool.before_forward");
        match publish(shared, &delivery.bytes).await {
            Ok(()) => {
                crash_point!("spool.after_forward");
                delivery.ack().await?;
                crash_point!("spool.after_forget");
                return Ok(());
            }
            Err(error) => {
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

async fn publish(shared: &Shared, bytes: &Bytes) -> Result<(), PublishError> {
    match Account::decode(bytes) {
        Ok(account) => shared.broker.publish_report(&account).await,
        Err(error) => {
            tracing::error!(
                error = describe(&error),
                "an accept report in the spool cannot be decoded; `hookbox reconcile` will \
                 list its sequence numbers as unreported"
            );
            Ok(())
        }
    }
}
