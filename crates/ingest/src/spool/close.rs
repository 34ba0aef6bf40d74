//! The end of keeping: when little is left in the spool, what comes waits for the moment in which
//! the rest is forwarded. Waiting for a spool that happens to be empty would take for ever.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::way::Way;
use super::{LOOK_EVERY, Shared};

/// So many events are few whatever the broker takes: one message.
const FEW: u64 = 64;

/// How long what comes may wait. A sender's patience is longer by far.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// How often it is looked meanwhile whether all is forwarded.
const CLOSE_LOOK: Duration = Duration::from_millis(10);

/// How long after a try that took too long the next one comes.
const CLOSE_AGAIN: Duration = Duration::from_secs(1);

/// Ends the keeping whenever all that was kept is forwarded, or nearly so.
pub(super) async fn watch(shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = look_again_and_again(&shared) => {}
    }
}

async fn look_again_and_again(shared: &Shared) {
    let (mut forwarded, mut not_before) = (0, Instant::now());
    loop {
        sleep(LOOK_EVERY).await;
        // What is refused may be in it when the keeping is over.
        let is_empty = shared.counters.events.load(Ordering::Relaxed) == 0;
        let is_idle = is_empty && !shared.gate.is_spooling();
        // Nothing leaves meanwhile, and a look at a spool that is large takes a while.
        if is_idle || !shared.is_ready() {
            continue;
        }
        let before = forwarded;
        forwarded = shared.counters.forwarded.load(Ordering::Relaxed);
        let Ok(left) = shared.look().await else {
            continue;
        };
        let few = (forwarded - before).max(FEW);
        let is_held_up = shared.ways.values().any(Way::is_held_up);
        if left.events > few || is_held_up || Instant::now() < not_before {
            continue;
        }
        if !close(shared).await {
            not_before = Instant::now() + CLOSE_AGAIN;
        }
    }
}

/// Holds up what comes until the spool is empty, but not for long.
async fn close(shared: &Shared) -> bool {
    let Some(closing) = shared.gate.close() else {
        return false;
    };
    let emptied = async {
        closing.nobody_keeps().await;
        while shared.is_ready() {
            match shared.look().await {
                Ok(left) if left.messages == 0 => return true,
                Ok(_) | Err(_) => sleep(CLOSE_LOOK).await,
            }
        }
        false
    };
    let is_empty = timeout(CLOSE_MAX, emptied).await.unwrap_or(false);
    if is_empty {
        closing.end();
        tracing::info!("all that was kept in the spool is forwarded");
    }
    is_empty
}
