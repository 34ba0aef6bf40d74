//! The keeper of one subscription: a task that takes messages from the queue, renews their leases,
//! and writes the settlements of the consumer. It does several of these things in one transaction.

mod settlements;
mod write;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hookbox_driver::{Fault, FaultKind, Queue, Subscription};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::broker::delivery::{InFlight, QueueSubscription, Settlement};
use crate::broker::messages::{self, Leases, Token};
use crate::diagnose::fault;
use crate::file::shared::Shared;
use settlements::Settlements;

/// How long the keeper holds a settlement back, so that several settlements share one transaction
/// and its disk sync. This delays no delivery, because new messages are taken as soon as half of
/// those in flight are settled. For a worker that processes one message at a time, it saves most of
/// the syncs.
const BATCH_WAIT: Duration = Duration::from_millis(5);

/// How often the keeper polls its queue even without a notification. Only polling finds a message
/// whose lease has ended, because the end of a lease sends no notification.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// How many transactions in a row may fail because the file is locked, before the subscription ends
/// with the fault `Contention`. Each of these transactions has waited for the whole busy timeout.
const CONTENTION_MAX: u32 = 3;

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
    /// The ids of the messages that the keeper has taken and that are not settled, whether a
    /// consumer has received them or not. The flag of each is set when its lease is lost.
    held: HashMap<i64, Arc<AtomicBool>>,
    settlements: Settlements,
    renewed: Instant,
    polled: Instant,
    /// Whether the queue may hold a message that can be taken. If not, the queue is not queried.
    maybe: bool,
    contended: u32,
}

/// Starts a keeper as a task. The caller must be in the tokio runtime in which the driver was
/// opened.
pub(crate) fn subscribe(
    shared: Arc<Shared>,
    queue: &Queue,
    token: Token,
    prefetch: u16,
) -> Result<Box<dyn Subscription>, Fault> {
    let name = shared.queue_name(queue);
    let notifier = shared.notifiers.listen(&name).ok_or_else(|| {
        Fault::plain(
            FaultKind::Internal,
            "subscribe to a queue of no configured route",
        )
    })?;
    let prefetch = usize::from(prefetch.max(1));
    // The channel carries the messages in flight and, at the end, one fault. With a capacity of one
    // more than the largest number of messages in flight, there is always space for the fault.
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

/// Whether the keeper continues or ends after a step.
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
                    // The settlement channel is closed before the fault is sent. Otherwise a
                    // consumer that has received the fault could send a settlement that no task
                    // reads, and would get `Ok` for it.
                    self.incoming.close();
                    // Sending the fault fails when the subscription was dropped. Then no consumer
                    // waits for it, and messages in flight are redelivered when their leases end.
                    let _ = self.deliveries.try_send(Err(fault));
                    return;
                }
            }
        }
    }

    /// Runs one transaction if there is something to write or to take. Otherwise waits for a
    /// settlement, a notification or a timer.
    async fn step(&mut self) -> Result<Next, Fault> {
        while let Ok(settle) = self.incoming.try_recv() {
            self.note(settle);
        }
        if self.shared.closing.is_cancelled() {
            self.give_all_back();
            self.write().await?;
            return Ok(Next::End);
        }
        // While a settlement is held back, the keeper also waits with taking messages, so that one
        // transaction does both: it writes the settlement and takes the next messages.
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
                // The subscription and all its deliveries were dropped, so no further settlement
                // can arrive.
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

    /// Returns whether a transaction is needed now: half of the prefetch is settled, all messages
    /// in flight are settled, a settlement has been held back for [`BATCH_WAIT`], a caller waits
    /// for a flush, or leases are due for renewal.
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

    /// Returns whether the queue has a message to take and the prefetch allows one. The query is a
    /// read, so it does not wait for the writing connection.
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
        // The keeper waits for at least a millisecond, so that the loop never runs without a pause.
        // This delays nothing, because everything that is due was done before the wait.
        next.unwrap_or(now + POLL_EVERY)
            .max(now + Duration::from_millis(1))
    }

    fn give_all_back(&mut self) {
        // From now on nothing is delivered. Dropping the old sender closes the channel of the
        // deliveries. The new sender takes its place and reaches no receiver.
        self.deliveries = mpsc::channel(1).0;
        self.settlements
            .release_all(self.held.drain().map(|(id, _)| id));
    }
}
