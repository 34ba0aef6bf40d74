//! Accounts from the spool to the broker, one after the other, each after all that it tells of.

use std::sync::Arc;

use bytes::Bytes;
use hookbox_crash::crash_point;
use hookbox_driver::{Delivery, Fault, PublishError, Queue, Subscription, describe};
use hookbox_event::Account;
use tokio::time::sleep;

use super::forward::log_once;
use super::pause::Pause;
use super::{LOOK_EVERY, PREFETCH, Shared};

/// Forwards the accounts until it is time to stop.
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
            sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = forwarding => {}
    }
}

/// Ends when the subscription breaks. What is in hand then comes again.
async fn all_of(shared: &Shared, mut subscription: Box<dyn Subscription>) -> Result<(), Fault> {
    loop {
        let mut hand = vec![subscription.next().await?];
        while let Some(delivery) = subscription.try_next() {
            hand.push(delivery);
        }
        // Everything that these tell of was kept before them.
        while !shared.look().await.is_ok_and(|left| left.of_routes == 0) {
            sleep(LOOK_EVERY).await;
        }
        for delivery in hand {
            one(shared, delivery).await?;
        }
    }
}

/// Until the broker has confirmed it.
async fn one(shared: &Shared, delivery: Delivery) -> Result<(), Fault> {
    let mut pause = Pause::default();
    loop {
        shared.until_ready().await;
        crash_point!("spool.before_forward");
        match tell(shared, &delivery.bytes).await {
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
                        "the broker did not take an account of the spool; it is tried again"
                    );
                }
                sleep(pause.next()).await;
            }
        }
    }
}

async fn tell(shared: &Shared, bytes: &Bytes) -> Result<(), PublishError> {
    match Account::decode(bytes) {
        Ok(account) => shared.broker.tell(&account).await,
        Err(error) => {
            tracing::error!(
                error = describe(&error),
                "an account in the spool cannot be read; the books will name what it told of"
            );
            Ok(())
        }
    }
}
