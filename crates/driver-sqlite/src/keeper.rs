//! The keeper of one subscription: a task that takes messages, renews their leases and writes their
//! settlements, several in one transaction.

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

/// How long a settlement waits so that others can be written in the same transaction. The wait
/// delays no message, because new ones are taken when half of those in flight are settled. It saves
/// most syncs for a worker that processes one message at a time.
const BATCH_WAIT: Duration = Duration::from_millis(5);

/// How often the keeper polls without a notification, because a lease that ends sends none.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// How many transactions in a row may find the file locked before the subscription ends with that
/// fault. Each of them has waited for the busy timeout.
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

/// A settlement that is sent to the keeper.
pub(crate) enum Settlement {
    Ack(i64),
    Release(i64),
    /// Dropped unsettled.
    Dropped(i64),
    /// Never handed out.
    PutBack(i64),
    /// Asks for a reply when all settlements before this one are written.
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
    /// The messages that are taken and not settled, whether a consumer has received them or not.
    held: HashMap<i64, Arc<AtomicBool>>,
    settlements: Settlements,
    renewed: Instant,
    polled: Instant,
    /// Whether the queue may have a message to take.
    maybe: bool,
    contended: u32,
}

/// Starts a keeper. The caller must be within the runtime in which the driver was opened.
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
    // The channel has one place more than there can be messages in flight, so that a fault always
    // fits.
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

/// Whether a keeper continues after a step.
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
                    // The channel is closed first: once a consumer has received the fault, no
                    // settlement may be reported as sent.
                    self.incoming.close();
                    // Sending fails when the subscription is gone. Then no consumer is left, and
                    // messages in flight are redelivered when their leases end.
                    let _ = self.deliveries.try_send(Err(fault));
                    return;
                }
            }
        }
    }

    /// Writes what is ready to be written; otherwise waits for a settlement, a notification or a
    /// timer.
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
                // The subscription and all deliveries are gone, so no further settlement can
                // arrive.
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

    /// Returns whether a transaction is needed now: there are enough settlements or old ones, no
    /// message is in flight, a caller waits for a flush, or leases are due for renewal.
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

    /// Returns whether a query finds a message to take. The query is a read, and waits for no
    /// writer.
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
        // Everything due is done before the wait, so this loop never spins.
        next.unwrap_or(now + POLL_EVERY)
            .max(now + Duration::from_millis(1))
    }

    fn give_all_back(&mut self) {
        // This closes the channel, because the new receiver is dropped at once.
        self.deliveries = mpsc::channel(1).0;
        self.settlements
            .release_all(self.held.drain().map(|(id, _)| id));
    }
}
