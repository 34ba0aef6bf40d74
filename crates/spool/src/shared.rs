//! The state that the tasks of the spool share: the main broker, the spool, and the messages that
//! are being forwarded from the spool to the main broker.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::{Broker, Depth, Fault, NotReadyKind, Queue, Readiness};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::counters::SpoolCounters;
use crate::forwarding_queue::ForwardingQueue;
use crate::gate::Gate;

/// How many messages of one queue of the spool may be in flight at most. If each message holds one
/// event, 64 of them make one full batch for the broker. If each body has the largest size that is
/// allowed by default (1 MiB), 64 messages take 64 MiB of memory.
pub(super) const PREFETCH: u16 = 64;

/// How often to check whether the broker is available again, and whether the spool is empty.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(200);

pub(super) struct Shared {
    pub broker: Arc<dyn Broker>,
    pub spool: Arc<dyn Broker>,
    pub counters: Arc<SpoolCounters>,
    pub gate: Gate,
    /// The queues of the routes and the queue of accept reports.
    pub queues: HashMap<Queue, ForwardingQueue>,
    pub stop: CancellationToken,
}

/// What the spool still has to forward of one queue. Messages that the main broker refuses while it
/// takes other messages are not counted.
#[derive(Clone, Copy, Default)]
pub(super) struct QueueContents {
    pub messages: u64,
    pub events: u64,
}

impl Shared {
    pub fn is_ready(&self) -> bool {
        self.broker.readiness() == Readiness::Ready
    }

    /// Returns whether the broker may take a publish. A broker that is connected reports that it
    /// refuses publishes when it has refused the latest ones, which may all be those of one route.
    /// Only a publish shows whether it takes those of another route.
    pub fn may_give(&self) -> bool {
        match self.broker.readiness() {
            Readiness::Ready => true,
            Readiness::NotReady { kind, why: _ } => match kind {
                NotReadyKind::Refused => true,
                NotReadyKind::Starting
                | NotReadyKind::Unreachable
                | NotReadyKind::Alarm
                | NotReadyKind::Topology
                | NotReadyKind::Storage
                | NotReadyKind::Closing => false,
            },
        }
    }

    /// Returns whether the events of at least one route go to the broker, and not into the spool.
    pub fn is_any_route_direct(&self) -> bool {
        let mut queues = self.queues.keys();
        queues.any(|queue| match queue {
            Queue::Route(_) => !self.gate.is_spooling(queue),
            Queue::Dead | Queue::Accounts | Queue::Witness => false,
        })
    }

    pub async fn until_ready(&self) {
        while !self.is_ready() {
            sleep(CHECK_INTERVAL).await;
        }
    }

    /// Waits until no message of this queue of the spool is in flight. Messages that were in flight
    /// when an earlier process died are the oldest in the queue, and are redelivered only when
    /// their lease expires. If forwarding started before that, newer messages would overtake them.
    pub async fn until_whole(&self, queue: &Queue) {
        loop {
            let depths = self.spool.depths().await.unwrap_or_default();
            let own = depths.iter().find(|depth| depth.queue == *queue);
            if own.is_some_and(|depth| depth.unsettled == Some(0)) {
                return;
            }
            sleep(CHECK_INTERVAL).await;
        }
    }

    /// Counts what the spool still has to forward of each queue, and updates the counters for
    /// metrics.
    pub async fn contents(&self) -> Result<HashMap<Queue, QueueContents>, Fault> {
        let depths = self.spool.depths().await?;
        let (mut contents, mut events, mut refused) = (HashMap::new(), 0, 0);
        for depth in depths {
            let Some(queue) = self.queues.get(&depth.queue) else {
                continue;
            };
            let (refused_messages, refused_events) = queue.refused();
            let here = depth.events.unwrap_or(0);
            let left = QueueContents {
                messages: waiting(&depth).saturating_sub(refused_messages),
                events: here.saturating_sub(refused_events),
            };
            events += here;
            refused += refused_events;
            contents.insert(depth.queue, left);
        }
        self.counters.events.store(events, Ordering::Relaxed);
        self.counters.refused.store(refused, Ordering::Relaxed);
        Ok(contents)
    }
}

/// Returns how many messages one queue of the spool contains, both ready and in flight.
pub(super) fn waiting(depth: &Depth) -> u64 {
    depth.ready.unwrap_or(0) + depth.unsettled.unwrap_or(0)
}
