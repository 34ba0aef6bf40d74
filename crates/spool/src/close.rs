//! Ends spooling: when little is left in the spool for a queue, its new messages wait for a short
//! time while the last spooled messages are forwarded. Without this wait, the spool would never
//! become empty under constant load.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::Queue;
use tokio::time::{Instant, sleep, timeout};

use super::forwarding_queue::ForwardingQueue;
use super::gate::Closing;
use super::shared::{CHECK_INTERVAL, QueueContents, Shared};

/// If at most this many events are left in the spool for a queue, hookbox always tries to end
/// spooling, because they fit into one message for the broker. If more are left, it tries to end
/// spooling only if forwarding is fast: the events that were forwarded since the previous check are
/// at least as many as those that are left.
const FEW: u64 = 64;

/// How long new messages wait at most while the last spooled messages are forwarded. Senders wait
/// far longer for an answer, so no request fails because of this wait.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// While new messages wait, how often to check whether every spooled message is forwarded.
const CLOSE_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// How long to wait before the next try to end spooling of a queue, after a try has failed.
const CLOSE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The latest check of one queue.
#[derive(Default)]
struct Check {
    /// The number of events that had been forwarded since the start of the process.
    forwarded: u64,
    /// When the next try to end spooling may be made; `None` if it may be made at once.
    not_before: Option<Instant>,
}

/// Checks again and again for which queues nearly everything in the spool is forwarded, and then
/// ends spooling for these queues.
pub(super) async fn watch(shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = check_repeatedly(&shared) => {}
    }
}

async fn check_repeatedly(shared: &Shared) {
    let mut checks: HashMap<Queue, Check> = HashMap::new();
    loop {
        sleep(CHECK_INTERVAL).await;
        let spooling = shared.gate.spooling();
        // Spooling can end before the spool is empty, namely when only messages are left that the
        // broker refuses. So a spool that is not empty is still counted after spooling has ended,
        // for the metrics.
        let is_empty = shared.counters.events.load(Ordering::Relaxed) == 0;
        let is_idle = is_empty && spooling.is_empty();
        // While the broker is not ready, nothing is forwarded. So the messages in the spool need
        // not be counted, which would be slow for a large spool.
        if is_idle || !shared.is_ready() {
            continue;
        }
        let Ok(contents) = shared.contents().await else {
            continue;
        };
        let is_closable = |queue: &Queue| {
            let left = contents.get(queue).copied().unwrap_or_default();
            let check = checks.entry(queue.clone()).or_default();
            check.is_closable(shared.queues.get(queue), left)
        };
        let closable: Vec<Queue> = spooling.into_iter().filter(is_closable).collect();
        close(shared, &closable).await;
        for queue in closable {
            if shared.gate.is_spooling(&queue) {
                let not_before = Some(Instant::now() + CLOSE_RETRY_DELAY);
                checks.entry(queue).or_default().not_before = not_before;
            }
        }
    }
}

impl Check {
    /// Returns whether so little of the queue is left that a try to end its spooling is due.
    fn is_closable(&mut self, forwarding: Option<&ForwardingQueue>, left: QueueContents) -> bool {
        let forwarded = forwarding.map_or(0, ForwardingQueue::forwarded);
        let few = (forwarded - self.forwarded).max(FEW);
        self.forwarded = forwarded;
        // An accept report has no events, and each is forwarded by itself.
        let is_little = left.events.max(left.messages) <= few;
        let is_held_up = forwarding.is_some_and(ForwardingQueue::is_held_up);
        let is_due = self.not_before.is_none_or(|at| Instant::now() >= at);
        is_little && !is_held_up && is_due
    }
}

/// Holds back new messages of these queues until nothing of their queue is left in the spool, for
/// at most [`CLOSE_MAX`]. Ends spooling for each queue at the moment when nothing of it is left.
async fn close(shared: &Shared, queues: &[Queue]) {
    let closings = queues.iter().filter_map(|queue| shared.gate.close(queue));
    let mut closings: Vec<Closing<'_>> = closings.collect();
    let emptied = async {
        for closing in &closings {
            closing.until_none_is_spooled().await;
        }
        while !closings.is_empty() && shared.is_ready() {
            if let Ok(contents) = shared.contents().await {
                let is_left = |closing: &Closing<'_>| {
                    let left = contents.get(closing.queue());
                    left.is_some_and(|left| left.messages > 0)
                };
                let all = std::mem::take(&mut closings).into_iter();
                let (left, empty): (Vec<_>, Vec<_>) = all.partition(is_left);
                closings = left;
                empty.into_iter().for_each(end);
            }
            sleep(CLOSE_CHECK_INTERVAL).await;
        }
    };
    // What is not empty in time is spooled further: dropping its `Closing` ends the wait of new
    // messages.
    let _ = timeout(CLOSE_MAX, emptied).await;
}

fn end(closing: Closing<'_>) {
    let queue = closing.queue().clone();
    closing.end();
    tracing::info!(
        %queue,
        "the spool holds nothing more of {queue}: everything was forwarded to the broker"
    );
}
