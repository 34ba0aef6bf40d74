//! The end of spooling: when little is left in the spool, new events wait for the moment in which
//! the rest is forwarded. Waiting for a spool that happens to be empty would take for ever.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::forwarding_queue::ForwardingQueue;
use super::{CHECK_INTERVAL, Shared};

/// So many events are few whatever the broker takes: one message.
const FEW: u64 = 64;

/// How long a new event may wait. A sender's time-out is longer by far.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// How often to check meanwhile whether everything is forwarded.
const CLOSE_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// How long after an attempt that took too long the next one starts.
const CLOSE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Ends spooling whenever everything in the spool is forwarded, or nearly so.
pub(super) async fn watch(shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = check_repeatedly(&shared) => {}
    }
}

async fn check_repeatedly(shared: &Shared) {
    let (mut forwarded, mut not_before) = (0, Instant::now());
    loop {
        sleep(CHECK_INTERVAL).await;
        // What is refused may still be in the spool when spooling ends.
        let is_empty = shared.counters.events.load(Ordering::Relaxed) == 0;
        let is_idle = is_empty && !shared.gate.is_spooling();
        // Nothing leaves meanwhile, and reading the depths of a large spool takes a while.
        if is_idle || !shared.is_ready() {
            continue;
        }
        let before = forwarded;
        forwarded = shared.counters.forwarded.load(Ordering::Relaxed);
        let Ok(left) = shared.contents().await else {
            continue;
        };
        let few = (forwarded - before).max(FEW);
        let is_held_up = shared.queues.values().any(ForwardingQueue::is_held_up);
        if left.events > few || is_held_up || Instant::now() < not_before {
            continue;
        }
        if !close(shared).await {
            not_before = Instant::now() + CLOSE_RETRY_DELAY;
        }
    }
}

/// Holds up new events until the spool is empty, but not for long.
async fn close(shared: &Shared) -> bool {
    let Some(closing) = shared.gate.close() else {
        return false;
    };
    let emptied = async {
        closing.until_none_is_spooled().await;
        while shared.is_ready() {
            match shared.contents().await {
                Ok(left) if left.messages == 0 => return true,
                Ok(_) | Err(_) => sleep(CLOSE_CHECK_INTERVAL).await,
            }
        }
        false
    };
    let is_empty = timeout(CLOSE_MAX, emptied).await.unwrap_or(false);
    if is_empty {
        closing.end();
        tracing::info!("the spool is empty: everything in it was forwarded to the broker");
    }
    is_empty
}
