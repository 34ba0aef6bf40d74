//! From the spool to the broker: the messages of one route, in their order, as many joined as make
//! one message. What the broker does not take is tried again; a message that it refuses by itself,
//! while it takes others, lets them past.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{Batch, Fault, PublishError, PublishErrorKind, Queue, Subscription, describe};
use hookbox_event::RouteName;
use tokio::time::{Instant, sleep, sleep_until};

use super::forwarding_queue::ForwardingQueue;
use super::kept::{SpooledMessage, join, joinable};
use super::pause::Pause;
use super::{CHECK_INTERVAL, PREFETCH, Shared};
use crate::counters::add;

/// So many times in a row a message must fail by itself before another one is tried in its place.
const ALONE_MAX: u32 = 5;

/// How long such a message waits for another one to be tried. Nothing waits behind it, and each try
/// may cost other routes their connection.
const ALONE_PAUSE: Duration = Duration::from_secs(60);

/// How many refused messages of a route stay in flight; the rest of the prefetch is for the others.
const REFUSED_MAX: usize = PREFETCH as usize / 2;

/// When a refused message is tried again. Each try costs the broker's connection, so that the
/// pauses grow: after raising the broker's limit, wait for the next try or restart the process.
const REFUSED_FIRST: Duration = Duration::from_secs(5);

/// The longest of those pauses.
const REFUSED_LONGEST: Duration = Duration::from_secs(600);

/// Forwards one route until it is time to stop.
pub(super) async fn forward(shared: Arc<Shared>, route: RouteName) {
    let stop = shared.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = in_order(&shared, &route) => {}
    }
}

async fn in_order(shared: &Shared, route: &RouteName) {
    let Some(forwarding) = shared.queues.get(route) else {
        return;
    };
    let queue = Queue::Route(route.clone());
    let mut logged = String::new();
    loop {
        shared.until_whole(&queue).await;
        let ended = match shared.spool.subscribe(&queue, PREFETCH).await {
            Ok(subscription) => {
                Forwarder::new(shared, forwarding, route, subscription)
                    .run()
                    .await
            }
            Err(fault) => fault,
        };
        // What was in flight is redelivered in its order.
        forwarding.record_refused(0, 0);
        forwarding.rests();
        log_once(&mut logged, &ended);
        sleep(CHECK_INTERVAL).await;
    }
}

/// Logs why the spool cannot be read, when the reason differs from the last one: it is tried again
/// several times a second.
pub(super) fn log_once(logged: &mut String, fault: &Fault) {
    let why = describe(fault);
    if why != *logged {
        tracing::warn!(error = why, "the spool cannot be read now: {why}");
        *logged = why;
    }
}

/// The messages of one route that are in flight.
struct Forwarder<'a> {
    shared: &'a Shared,
    forwarding: &'a ForwardingQueue,
    route: &'a RouteName,
    subscription: Box<dyn Subscription>,
    /// In order, and never more than [`PREFETCH`] with those refused.
    in_flight: VecDeque<SpooledMessage>,
    pause: Pause,
    /// How often the first message in flight has failed by itself, for a reason that may be its
    /// own.
    failed_alone: u32,
    refused: VecDeque<SpooledMessage>,
    refused_at: Instant,
    refused_pause: Duration,
}

impl<'a> Forwarder<'a> {
    fn new(
        shared: &'a Shared,
        forwarding: &'a ForwardingQueue,
        route: &'a RouteName,
        subscription: Box<dyn Subscription>,
    ) -> Self {
        Self {
            shared,
            forwarding,
            route,
            subscription,
            in_flight: VecDeque::new(),
            pause: Pause::default(),
            failed_alone: 0,
            refused: VecDeque::new(),
            refused_at: Instant::now(),
            refused_pause: REFUSED_FIRST,
        }
    }

    /// Ends when the subscription breaks, or the spool does not delete what is forwarded: it will
    /// be forwarded once more, with the same receipts.
    async fn run(mut self) -> Fault {
        loop {
            if let Err(fault) = self.step().await {
                return fault;
            }
        }
    }

    async fn step(&mut self) -> Result<(), Fault> {
        self.fill().await?;
        self.shared.until_ready().await;
        if !self.refused.is_empty() && Instant::now() >= self.refused_at {
            self.try_refused().await?;
            self.shared.until_ready().await;
        }
        // After a failure one at a time, so that no other can be its reason.
        let count = if self.pause.is_first() {
            joinable(&self.in_flight)
        } else {
            1
        };
        let Some(batch) = join(&self.in_flight, count) else {
            return Ok(());
        };
        match publish(self.shared, self.route, &batch).await {
            Ok(()) => self.passed(count).await,
            Err(error) => self.failed(count, &error).await,
        }
    }

    /// Takes the messages that are available, and waits when there are none.
    async fn fill(&mut self) -> Result<(), Fault> {
        while let Some(delivery) = self.subscription.try_next() {
            self.in_flight.push_back(SpooledMessage::of(delivery));
        }
        if self.in_flight.is_empty() {
            self.forwarding.rests();
            tokio::select! {
                delivery = self.subscription.next() => {
                    self.in_flight.push_back(SpooledMessage::of(delivery?));
                }
                () = sleep_until(self.refused_at), if !self.refused.is_empty() => {}
            }
        }
        Ok(())
    }

    /// The first `count` are confirmed.
    async fn passed(&mut self, count: usize) -> Result<(), Fault> {
        self.pause = Pause::default();
        self.failed_alone = 0;
        for kept in self.in_flight.drain(..count) {
            kept.delivery.ack().await?;
        }
        crash_point!("spool.after_forget");
        self.forwarding.moved(count);
        Ok(())
    }

    async fn failed(&mut self, count: usize, error: &PublishError) -> Result<(), Fault> {
        self.forwarding.holds();
        if self.pause.is_first() {
            tracing::warn!(
                route = %self.route,
                kind = error.kind.as_str(),
                error = describe(error),
                "the broker did not take a message from the spool; it is tried again"
            );
        }
        let pause = self.pause.next();
        if count > 1 {
            return Ok(());
        }
        self.failed_alone = if may_be_its_own(error.kind) {
            self.failed_alone + 1
        } else {
            0
        };
        if self.failed_alone >= ALONE_MAX && self.lets_past().await? {
            return Ok(());
        }
        if self.in_flight.len() == 1 && self.failed_alone >= ALONE_MAX {
            tokio::select! {
                delivery = self.subscription.next() => {
                    self.in_flight.push_back(SpooledMessage::of(delivery?));
                }
                () = sleep(ALONE_PAUSE) => {}
            }
        } else {
            sleep(pause).await;
        }
        Ok(())
    }

    /// Tries the second message when the first has failed too often. If the broker takes that one,
    /// it is the first that is refused, and not the broker that is unavailable.
    async fn lets_past(&mut self) -> Result<bool, Fault> {
        if self.refused.len() >= REFUSED_MAX {
            return Ok(false);
        }
        let Some(second) = self.in_flight.get(1).map(|kept| kept.batch.clone()) else {
            return Ok(false);
        };
        self.shared.until_ready().await;
        if publish(self.shared, self.route, &second).await.is_err() {
            return Ok(false);
        }
        let Some(first) = self.in_flight.pop_front() else {
            return Ok(false);
        };
        tracing::error!(
            route = %self.route,
            receipt = %first.batch.first_receipt,
            events = first.batch.count,
            bytes = first.batch.bytes.len(),
            "the broker refuses {} events of route {} from receipt {} on ({} bytes) and takes \
             others: the refused ones stay in the spool and are retried from time to time",
            first.batch.count,
            self.route,
            first.batch.first_receipt,
            first.batch.bytes.len()
        );
        if self.refused.is_empty() {
            self.refused_pause = REFUSED_FIRST;
            self.refused_at = Instant::now() + REFUSED_FIRST;
        }
        self.refused.push_back(first);
        self.record_refused();
        self.passed(1).await?;
        Ok(true)
    }

    /// Tries one that was refused, and the next one at once when it is taken.
    async fn try_refused(&mut self) -> Result<(), Fault> {
        let Some(kept) = self.refused.pop_front() else {
            return Ok(());
        };
        if publish(self.shared, self.route, &kept.batch).await.is_ok() {
            tracing::info!(
                route = %self.route,
                receipt = %kept.batch.first_receipt,
                "the broker now takes events that it had refused, from receipt {} on",
                kept.batch.first_receipt
            );
            self.refused_pause = REFUSED_FIRST;
            kept.delivery.ack().await?;
        } else {
            self.refused.push_back(kept);
            self.refused_pause = (self.refused_pause * 2).min(REFUSED_LONGEST);
            self.refused_at = Instant::now() + self.refused_pause;
        }
        self.record_refused();
        Ok(())
    }

    fn record_refused(&self) {
        let events = self.refused.iter().map(|kept| kept.batch.count).sum();
        self.forwarding.record_refused(self.refused.len(), events);
    }
}

async fn publish(shared: &Shared, route: &RouteName, batch: &Batch) -> Result<(), PublishError> {
    crash_point!("spool.before_forward");
    let routes = std::slice::from_ref(route);
    shared.broker.publish(routes, batch).await?;
    crash_point!("spool.after_forward");
    add(&shared.counters.forwarded, batch.count as u64);
    Ok(())
}

/// Whether the message may be the reason, and not the broker or the route: RabbitMQ ends the
/// connection on which it refuses a message.
fn may_be_its_own(kind: PublishErrorKind) -> bool {
    match kind {
        PublishErrorKind::Unavailable => true,
        PublishErrorKind::Rejected
        | PublishErrorKind::Unroutable
        | PublishErrorKind::TimedOut
        | PublishErrorKind::Blocked => false,
    }
}
