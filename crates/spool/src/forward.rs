//! Forwards the messages of one route from the spool to the broker in their order, and joins as
//! many messages as fit into one. A message that the broker did not take is tried again. If the
//! broker keeps refusing one message and takes the message behind it, later messages overtake the
//! refused message.

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
use super::shared::{CHECK_INTERVAL, PREFETCH, Shared};
use crate::counters::add;

/// How many times in a row the first message must fail, sent without any other message, before the
/// second message is tried in its place.
const ALONE_MAX: u32 = 5;

/// How long to wait before the only message of the spool is tried again, once it has failed
/// [`ALONE_MAX`] times. The wait ends early when a second message arrives. The wait is long,
/// because the failing message delays no other message, and because each try may end the connection
/// over which this process publishes.
const ALONE_PAUSE: Duration = Duration::from_secs(60);

/// How many messages that the broker has refused may stay in flight for one route. The other half
/// of [`PREFETCH`] is for messages that the broker takes.
const REFUSED_MAX: usize = PREFETCH as usize / 2;

/// The first pause before a refused message is tried again. The pause doubles with each try,
/// because each try costs a connection: the broker closes the connection when it refuses the
/// message. After an operator has raised the broker's limit on the size of messages, the message is
/// forwarded at the next try, or after a restart of the process.
const REFUSED_FIRST: Duration = Duration::from_secs(5);

/// The longest pause before a message that the broker has refused is tried again.
const REFUSED_LONGEST: Duration = Duration::from_secs(600);

/// Forwards the messages of one route until the process stops.
pub(super) async fn forward(shared: Arc<Shared>, route: RouteName) {
    let stop = shared.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = in_order(&shared, &route) => {}
    }
}

async fn in_order(shared: &Shared, route: &RouteName) {
    let queue = Queue::Route(route.clone());
    let Some(forwarding) = shared.queues.get(&queue) else {
        return;
    };
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
        // The subscription has ended, so all messages that were in flight, also the refused ones,
        // are redelivered in their original order.
        forwarding.record_refused(0, 0);
        forwarding.rests();
        log_once(&mut logged, &ended);
        sleep(CHECK_INTERVAL).await;
    }
}

/// Logs why the spool cannot be read, but only when the reason has changed, because reading is
/// tried several times a second.
pub(super) fn log_once(logged: &mut String, fault: &Fault) {
    let why = describe(fault);
    if why != *logged {
        tracing::warn!(error = why, "the spool cannot be read now: {why}");
        *logged = why;
    }
}

/// The messages of one route that are in flight, and the state of forwarding them.
struct Forwarder<'a> {
    shared: &'a Shared,
    forwarding: &'a ForwardingQueue,
    route: &'a RouteName,
    subscription: Box<dyn Subscription>,
    /// The messages that the broker has not refused, in order. These messages and those in
    /// `refused` are never more than [`PREFETCH`] in total.
    in_flight: VecDeque<SpooledMessage>,
    pause: Pause,
    /// How many times in a row the first message in flight has failed, sent without any other
    /// message, with an error that the message itself may have caused.
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

    /// Forwards until the subscription fails, or until the spool cannot delete a forwarded message.
    /// A message that could not be deleted is forwarded a second time later. It has the same
    /// receipts then, so the store counts it once.
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
        // After a failure, messages are sent one at a time and not joined. So a second failure can
        // only be due to the message that was sent.
        let count = if self.pause.is_first() {
            joinable(&self.in_flight)
        } else {
            1
        };
        let Some(batch) = join(&self.in_flight, count) else {
            return Ok(());
        };
        match publish(self.shared, self.forwarding, self.route, &batch).await {
            Ok(()) => self.passed(count).await,
            Err(error) => self.failed(count, &error).await,
        }
    }

    /// Takes all messages that the spool has available. If no message is in flight after that,
    /// waits for the next message, or until it is time to try a refused message again.
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

    /// Acknowledges the first `count` messages, which the broker has confirmed.
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
                "the broker did not take a message from the spool; the message is tried again"
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

    /// Publishes the second message. This is called when the first message has failed too often. If
    /// the broker takes the second message, the broker is available and refuses the first message,
    /// which is then moved to `refused`. Returns whether the first message was moved.
    async fn lets_past(&mut self) -> Result<bool, Fault> {
        if self.refused.len() >= REFUSED_MAX {
            return Ok(false);
        }
        let Some(second) = self.in_flight.get(1).map(|kept| kept.batch.clone()) else {
            return Ok(false);
        };
        self.shared.until_ready().await;
        let published = publish(self.shared, self.forwarding, self.route, &second).await;
        if published.is_err() {
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
             other events: the refused events stay in the spool and are retried from time to time",
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

    /// Tries a refused message again. If the broker takes the message, the next refused message is
    /// tried at once; otherwise the pause before the next try doubles.
    async fn try_refused(&mut self) -> Result<(), Fault> {
        let Some(kept) = self.refused.pop_front() else {
            return Ok(());
        };
        let published = publish(self.shared, self.forwarding, self.route, &kept.batch).await;
        if published.is_ok() {
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

async fn publish(
    shared: &Shared,
    forwarding: &ForwardingQueue,
    route: &RouteName,
    batch: &Batch,
) -> Result<(), PublishError> {
    crash_point!("spool.before_forward");
    let routes = std::slice::from_ref(route);
    shared.broker.publish(routes, batch).await?;
    crash_point!("spool.after_forward");
    add(&shared.counters.forwarded, batch.count as u64);
    forwarding.count_forwarded(batch.count as u64);
    Ok(())
}

/// Returns whether a publish with this error may have failed because of the message itself, and not
/// because of the broker or the route. RabbitMQ refuses a message that is too large by closing the
/// connection, so the error is `Unavailable`.
fn may_be_its_own(kind: PublishErrorKind) -> bool {
    match kind {
        PublishErrorKind::Unavailable => true,
        PublishErrorKind::Rejected
        | PublishErrorKind::Unroutable
        | PublishErrorKind::TimedOut
        | PublishErrorKind::Blocked => false,
    }
}
