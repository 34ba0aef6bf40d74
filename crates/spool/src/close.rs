//! Ends spooling: when little is left in the spool, new events wait for a short time while the last
//! spooled events are forwarded. Without this wait, the spool would never become empty under
//! constant load.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::forwarding_queue::ForwardingQueue;
use super::shared::{CHECK_INTERVAL, Shared};

/// If at most this many events are left in the spool, hookbox always tries to end spooling, because
/// they fit into one message for the broker. If more are left, it tries to end spooling only if
/// forwarding is fast: the events that were forwarded since the previous check are at least as many
/// as those that are left.
const FEW: u64 = 64;

/// How long new events wait at most while the last spooled events are forwarded. Senders wait far
/// longer for an answer, so no request fails because of this wait.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// While new events wait, how often to check whether every spooled event is forwarded.
const CLOSE_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// How long to wait before the next try to end spooling, after a try has failed.
const CLOSE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Checks again and again whether nearly everything in the spool is forwarded, and then ends
/// spooling.
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
        // Spooling can end before the spool is empty, namely when only messages are left that the
        // broker refuses. So a spool that is not empty is still counted after spooling has ended,
        // for the metrics.
        let is_empty = shared.counters.events.load(Ordering::Relaxed) == 0;
        let is_idle = is_empty && !shared.gate.is_spooling();
        // While the broker is not ready, nothing is forwarded. So the messages in the spool need
        // not be counted, which would be slow for a large spool.
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

/// Delays new events until the spool is empty, for at most [`CLOSE_MAX`]. Returns `true` if the
/// spool became empty, so that spooling has ended.
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
