//! The keeper of one subscription: a task that takes messages, keeps their leases alive and
//! writes their settlements, several in one transaction.

mod settlements;
mod write;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::{Fault, FaultKind, Queue, Subscription};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::delivery::QueueSubscription;
use crate::diagnose::fault;
use crate::messages::{self, Leases, Token};
use crate::shared::Shared;
use settlements::Settlements;

/// How long settlements wait for others to be written with. It costs no message its latency, as new
/// ones are taken when half of those in flight are settled, and saves most syncs for a worker that
/// processes one at a time.
const BATCH_WAIT: Duration = Duration::from_millis(5);

/// How often to poll without a notification: a lease that runs out sends no notification.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// So many transactions in a row may meet a locked file before the subscription ends with that
/// fault. Each has waited for the busy timeout.
const CONTENTION_MAX: u32 = 3;

/// A message in flight.
pub(crate) struct InFlight {
    pub(crate) id: i64,
    pub(crate) bytes: Bytes,
    pub(crate) redelivered: bool,
    pub(crate) died_in: Option<String>,
    /// Set when another subscription has taken the message.
    pub(crate) lost: Arc<AtomicBool>,
}

/// A settlement sent to the keeper.
pub(crate) enum Settlement {
    Ack(i64),
    Release(i64),
    /// Dropped unsettled.
    Dropped(i64),
    /// Never handed out.
    PutBack(i64),
    /// Answer when all settlements before this one are written.
    Flush(oneshot::Sender<()>),
}

struct Keeper {
    shared: Arc<Shared>,
    queue: String,
    is_dead: bool,
    dead: String,
    token: Token,
    prefetch: usize,
    deliveries: mpsc::Sender<Result<InFlight, Fault>>,
    incoming: mpsc::UnboundedReceiver<Settlement>,
    notifier: watch::Receiver<u64>,
    /// Messages that are taken and not settled, handed out or not.
    held: HashMap<i64, Arc<AtomicBool>>,
    settlements: Settlements,
    renewed: Instant,
    polled: Instant,
    /// There may be something to take.
    maybe: bool,
    contended: u32,
}

/// Starts a keeper. Must be called within the runtime that the driver was opened in.
pub(crate) fn subscribe(
    shared: Arc<Shared>,
    queue: &Queue,
    token: Token,
    prefetch: u16,
) -> Result<Box<dyn Subscription>, Fault> {
    let name = shared.queue_name(queue);
    let notifier = shared.notifiers.listen(&name).ok_or_else(|| {
        Fault::plain(FaultKind::Internal, "subscribe to a queue that is not open")
    })?;
    let prefetch = usize::from(prefetch.max(1));
    // One more than can be in flight, so that there is always room for a fault.
    let (deliveries, taken) = mpsc::channel(prefetch + 1);
    let (settlements, incoming) = mpsc::unbounded_channel();
    let keeper = Keeper {
        dead: shared.queue_name(&Queue::Dead),
        is_dead: !matches!(queue, Queue::Route(_)),
        queue: name,
        token,
        prefetch,
        deliveries,
        incoming,
        notifier,
        held: HashMap::new(),
        settlements: Settlements::default(),
        renewed: Instant::now(),
        polled: Instant::now(),
        maybe: true,
        contended: 0,
        shared: Arc::clone(&shared),
    };
    shared.tasks.spawn(keeper.run());
    Ok(Box::new(QueueSubscription {
        deliveries: taken,
        settlements,
        fault: None,
    }))
}

/// Whether a keeper continues.
enum Next {
    On,
    End,
}

impl Keeper {
    async fn run(mut self) {
        let abandoned = self.shared.abandoned.clone();
        tokio::select! {
            biased;
            () = abandoned.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&mut self) {
        loop {
            match self.step().await {
                Ok(Next::On) => self.contended = 0,
                Ok(Next::End) => return,
                Err(fault)
                    if fault.kind() == FaultKind::Contention
                        && self.contended + 1 < CONTENTION_MAX =>
                {
                    self.contended += 1;
                }
                Err(fault) => {
                    // First: once a consumer has the fault, no settlement may be reported as on its
                    // way.
                    self.incoming.close();
                    // Refused when the subscription is gone: then no consumer is left, and what is
                    // in flight is redelivered when its lease runs out.
                    let _ = self.deliveries.try_send(Err(fault));
                    return;
                }
            }
        }
    }

    /// Writes what is ready to be written; else waits for something to happen.
    async fn step(&mut self) -> Result<Next, Fault> {
        while let Ok(settle) = self.incoming.try_recv() {
            self.note(settle);
        }
        if self.shared.closing.is_cancelled() {
            self.give_all_back();
            self.write().await?;
            return Ok(Next::End);
        }
        // Settlements that wait for others are written in one transaction with new messages.
        if self.must_write() || (self.settlements.count() == 0 && self.may_take().await?) {
            self.write().await?;
            return Ok(Next::On);
        }
        let wake = self.wake_at();
        let room = self.room() > 0;
        tokio::select! {
            () = self.shared.closing.cancelled() => {}
            settle = self.incoming.recv() => match settle {
                Some(settle) => self.note(settle),
                // The subscription and all deliveries are gone, so all settlements are in.
                None => {
                    self.write().await?;
                    return Ok(Next::End);
                }
            },
            notified = self.notifier.changed(), if room => self.maybe |= notified.is_ok(),
            () = sleep_until(wake) => {}
        }
        if self.polled.elapsed() >= self.poll_every() {
            self.maybe = true;
        }
        Ok(Next::On)
    }

    fn note(&mut self, settle: Settlement) {
        let held = &mut self.held;
        self.settlements
            .note(settle, |id| held.remove(&id).is_some());
    }

    /// Enough settlements for a transaction, or old ones, or nothing else to wait for.
    fn must_write(&self) -> bool {
        let settlements = self.settlements.count();
        let enough = settlements * 2 >= self.prefetch || self.held.is_empty();
        let old = self
            .settlements
            .since()
            .is_some_and(|at| at.elapsed() >= BATCH_WAIT);
        self.settlements.is_urgent() || (settlements > 0 && (enough || old)) || self.must_renew()
    }

    fn must_renew(&self) -> bool {
        !self.held.is_empty() && self.renewed.elapsed() >= self.renew_every()
    }

    /// Whether a query finds a message for us. It is a read, and waits for no writer.
    async fn may_take(&mut self) -> Result<bool, Fault> {
        if !self.maybe || self.room() == 0 {
            return Ok(false);
        }
        self.polled = Instant::now();
        self.notifier.mark_unchanged();
        let mut reader = self.shared.readers.take_for_queues().await?;
        let leases = Leases::lasting(self.shared.options.lease);
        self.maybe = messages::is_waiting(&mut reader, &self.queue, leases)
            .await
            .map_err(fault("poll for messages"))?;
        Ok(self.maybe)
    }

    fn room(&self) -> usize {
        if self.deliveries.is_closed() {
            return 0;
        }
        self.prefetch.saturating_sub(self.held.len())
    }

    fn renew_every(&self) -> Duration {
        self.shared.options.lease / 3
    }

    fn poll_every(&self) -> Duration {
        POLL_EVERY.min(self.renew_every())
    }

    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let poll = (self.room() > 0).then(|| self.polled + self.poll_every());
        let renew = (!self.held.is_empty()).then(|| self.renewed + self.renew_every());
        let settlements = self.settlements.since().map(|since| since + BATCH_WAIT);
        let next = [poll, renew, settlements].into_iter().flatten().min();
        // What is due is done before the wait, so this never spins.
        next.unwrap_or(now + POLL_EVERY)
            .max(now + Duration::from_millis(1))
    }

    fn give_all_back(&mut self) {
        // Closes the channel: its other end is dropped at once.
        self.deliveries = mpsc::channel(1).0;
        self.settlements
            .release_all(self.held.drain().map(|(id, _)| id));
    }
}
