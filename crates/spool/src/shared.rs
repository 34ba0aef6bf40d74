//! The state that the tasks of the spool share: the main broker, the spool, and the messages that
//! are being forwarded from the spool to the main broker.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{
    Broker, Depth, Fault, PublishError, PublishErrorKind, Queue, Readiness, describe,
};
use hookbox_event::RouteName;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::counters::{SpoolCounters, add};
use crate::forwarding_queue::ForwardingQueue;
use crate::gate::{Destination, Gate, Place};

/// How many messages of one queue of the spool may be in flight at most. If each message holds one
/// event, 64 of them make one full batch for the broker. If each body has the largest size that is
/// allowed by default (1 MiB), 64 messages take 64 MiB of memory.
pub(super) const PREFETCH: u16 = 64;

/// How often to check whether the broker is available again, and whether the spool is empty.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// The longest time for which a publish waits until enough spooled messages were forwarded. After
/// this time the publish is spooled although too few messages were forwarded, as if the broker were
/// unavailable.
const MAKE_ROOM_MAX: Duration = Duration::from_millis(250);

pub(super) struct Shared {
    pub broker: Arc<dyn Broker>,
    pub spool: Arc<dyn Broker>,
    pub counters: Arc<SpoolCounters>,
    pub gate: Gate,
    pub queues: HashMap<RouteName, ForwardingQueue>,
    pub stop: CancellationToken,
}

/// How much the spool still has to forward. Messages that the main broker refuses while it takes
/// other messages are not counted.
#[derive(Clone, Copy, Default)]
pub(super) struct SpoolContents {
    pub messages: u64,
    /// How many of `messages` are messages of routes, which contain events. The other messages are
    /// accept reports.
    pub of_routes: u64,
    pub events: u64,
}

impl Shared {
    pub fn is_ready(&self) -> bool {
        self.broker.readiness() == Readiness::Ready
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

    /// Runs `given`, which publishes to the main broker, if that broker takes publishes. Otherwise,
    /// or if `given` fails, runs `kept`, which publishes to the spool. `events` is the number of
    /// events in the message, for the counters.
    pub async fn give_or_keep(
        &self,
        events: u64,
        given: impl Future<Output = Result<(), PublishError>> + Send,
        kept: impl Future<Output = Result<(), PublishError>> + Send,
    ) -> Result<(), PublishError> {
        let place = match self.gate.enter(|| self.is_ready()).await {
            Destination::Keep(place) => place,
            Destination::Give(place) => {
                let late = PublishError::plain(PublishErrorKind::TimedOut);
                let given = tokio::select! {
                    given = given => given,
                    () = place.is_late() => Err(late),
                };
                match given {
                    Ok(()) => return Ok(()),
                    Err(error) => tracing::info!(
                        kind = error.kind.as_str(),
                        error = describe(&error),
                        "the broker did not take {events} events; they are kept in the spool"
                    ),
                }
                place.keep()
            }
        };
        self.keep(&place, events, kept).await
    }

    async fn keep(
        &self,
        place: &Place<'_>,
        events: u64,
        kept: impl Future<Output = Result<(), PublishError>> + Send,
    ) -> Result<(), PublishError> {
        place.is_oldest().await;
        crash_point!("spool.before_keep");
        kept.await?;
        crash_point!("spool.after_keep");
        add(&self.counters.kept, events);
        add(&self.counters.events, events);
        Ok(())
    }

    /// While events are spooled, waits until so many messages of these routes have been forwarded
    /// that a new message may enter the spool. Waits for [`MAKE_ROOM_MAX`] at most.
    pub async fn make_room(&self, routes: &[RouteName]) {
        if !self.gate.is_spooling() || !self.is_ready() {
            return;
        }
        let all = async {
            for queue in routes.iter().filter_map(|route| self.queues.get(route)) {
                queue.make_room().await;
            }
        };
        let _ = timeout(MAKE_ROOM_MAX, all).await;
    }

    /// Counts what the spool still has to forward, and updates the counters for metrics.
    pub async fn contents(&self) -> Result<SpoolContents, Fault> {
        let depths = self.spool.depths().await?;
        let mut left = SpoolContents::default();
        let (mut events, mut refused) = (0, 0);
        for depth in &depths {
            match &depth.queue {
                Queue::Route(route) => {
                    let of_queue = self.queues.get(route).map(ForwardingQueue::refused);
                    let of_queue = of_queue.unwrap_or_default();
                    let messages = waiting(depth).saturating_sub(of_queue.0);
                    let here = depth.events.unwrap_or(0);
                    left.of_routes += messages;
                    left.messages += messages;
                    left.events += here.saturating_sub(of_queue.1);
                    events += here;
                    refused += of_queue.1;
                }
                Queue::Accounts => left.messages += waiting(depth),
                Queue::Dead | Queue::Witness => {}
            }
        }
        self.counters.events.store(events, Ordering::Relaxed);
        self.counters.refused.store(refused, Ordering::Relaxed);
        Ok(left)
    }
}

/// Returns how many messages one queue of the spool contains, both ready and in flight.
pub(super) fn waiting(depth: &Depth) -> u64 {
    depth.ready.unwrap_or(0) + depth.unsettled.unwrap_or(0)
}
