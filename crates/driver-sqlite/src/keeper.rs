//! The keeper of one subscription: a task that takes messages, keeps their leases alive and
//! writes their settlements, several in one transaction.

mod words;
mod write;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::{Fault, FaultKind, Queue, Subscription};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::delivery::Taking;
use crate::diagnose::fault;
use crate::messages::{self, Leases, Token};
use crate::shared::Shared;
use words::Words;

/// How long settlements wait for company. It costs no message its latency, as new ones are taken
/// when half of the hand is settled, and saves a worker that goes one by one most syncs.
const COMPANY_WAIT: Duration = Duration::from_millis(5);

/// How often to look without being woken: a lease that runs out rings no bell.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// So many transactions in a row may meet a locked file before the subscription ends with that
/// fault. Each has waited for the busy timeout.
const CONTENTION_MAX: u32 = 3;

/// A message in hand.
pub(crate) struct Hand {
    pub(crate) id: i64,
    pub(crate) bytes: Bytes,
    pub(crate) redelivered: bool,
    pub(crate) died_in: Option<String>,
    /// Set when somebody else has taken the message.
    pub(crate) lost: Arc<AtomicBool>,
}

/// A word to the keeper.
pub(crate) enum Settle {
    Ack(i64),
    Release(i64),
    /// Dropped without a word.
    Dropped(i64),
    /// Never handed out.
    PutBack(i64),
    /// Answer when all words before this one are written.
    Flush(oneshot::Sender<()>),
}

struct Keeper {
    shared: Arc<Shared>,
    queue: String,
    is_dead: bool,
    dead: String,
    token: Token,
    prefetch: usize,
    hands: mpsc::Sender<Result<Hand, Fault>>,
    settles: mpsc::UnboundedReceiver<Settle>,
    bell: watch::Receiver<u64>,
    /// What is taken and not settled, handed out or not.
    held: HashMap<i64, Arc<AtomicBool>>,
    words: Words,
    renewed: Instant,
    looked: Instant,
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
    let bell = shared.bells.listen(&name).ok_or_else(|| {
        Fault::plain(FaultKind::Internal, "subscribe to a queue that is not open")
    })?;
    let prefetch = usize::from(prefetch.max(1));
    // One more than can be in hand, so that a fault always finds its place.
    let (hands, taken) = mpsc::channel(prefetch + 1);
    let (settles, words) = mpsc::unbounded_channel();
    let keeper = Keeper {
        dead: shared.queue_name(&Queue::Dead),
        is_dead: !matches!(queue, Queue::Route(_)),
        queue: name,
        token,
        prefetch,
        hands,
        settles: words,
        bell,
        held: HashMap::new(),
        words: Words::default(),
        renewed: Instant::now(),
        looked: Instant::now(),
        maybe: true,
        contended: 0,
        shared: Arc::clone(&shared),
    };
    shared.tasks.spawn(keeper.run());
    Ok(Box::new(Taking {
        hands: taken,
        settles,
        fault: None,
    }))
}

/// Whether a keeper goes on.
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
                    // First: who has heard of the fault must not be told that a settlement is on
                    // its way.
                    self.settles.close();
                    // Refused when the subscription is gone: then nobody takes, and what is in
                    // hand comes again when its lease is over.
                    let _ = self.hands.try_send(Err(fault));
                    return;
                }
            }
        }
    }

    /// Writes what is ready to be written; else waits for something to happen.
    async fn step(&mut self) -> Result<Next, Fault> {
        while let Ok(settle) = self.settles.try_recv() {
            self.note(settle);
        }
        if self.shared.closing.is_cancelled() {
            self.give_all_back();
            self.write().await?;
            return Ok(Next::End);
        }
        // Words that wait for company take new messages along when they are written.
        if self.must_write() || (self.words.count() == 0 && self.may_take().await?) {
            self.write().await?;
            return Ok(Next::On);
        }
        let wake = self.wake_at();
        let room = self.room() > 0;
        tokio::select! {
            () = self.shared.closing.cancelled() => {}
            settle = self.settles.recv() => match settle {
                Some(settle) => self.note(settle),
                // The subscription and all deliveries are gone, so all words are in.
                None => {
                    self.write().await?;
                    return Ok(Next::End);
                }
            },
            rung = self.bell.changed(), if room => self.maybe |= rung.is_ok(),
            () = sleep_until(wake) => {}
        }
        if self.looked.elapsed() >= self.look_every() {
            self.maybe = true;
        }
        Ok(Next::On)
    }

    fn note(&mut self, settle: Settle) {
        let held = &mut self.held;
        self.words.note(settle, |id| held.remove(&id).is_some());
    }

    /// Enough words for a transaction, or old ones, or nothing else to wait for.
    fn must_write(&self) -> bool {
        let words = self.words.count();
        let enough = words * 2 >= self.prefetch || self.held.is_empty();
        let old = self
            .words
            .since()
            .is_some_and(|at| at.elapsed() >= COMPANY_WAIT);
        self.words.is_urgent() || (words > 0 && (enough || old)) || self.must_renew()
    }

    fn must_renew(&self) -> bool {
        !self.held.is_empty() && self.renewed.elapsed() >= self.renew_every()
    }

    /// Whether a look says that there is something for us. It is a read, and stands behind no
    /// writer.
    async fn may_take(&mut self) -> Result<bool, Fault> {
        if !self.maybe || self.room() == 0 {
            return Ok(false);
        }
        self.looked = Instant::now();
        self.bell.mark_unchanged();
        let mut reader = self.shared.readers.take_for_queues().await?;
        let leases = Leases::lasting(self.shared.options.lease);
        self.maybe = messages::is_waiting(&mut reader, &self.queue, leases)
            .await
            .map_err(fault("look for messages"))?;
        Ok(self.maybe)
    }

    fn room(&self) -> usize {
        if self.hands.is_closed() {
            return 0;
        }
        self.prefetch.saturating_sub(self.held.len())
    }

    fn renew_every(&self) -> Duration {
        self.shared.options.lease / 3
    }

    fn look_every(&self) -> Duration {
        LOOK_EVERY.min(self.renew_every())
    }

    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let look = (self.room() > 0).then(|| self.looked + self.look_every());
        let renew = (!self.held.is_empty()).then(|| self.renewed + self.renew_every());
        let words = self.words.since().map(|since| since + COMPANY_WAIT);
        let next = [look, renew, words].into_iter().flatten().min();
        // What is due is done before the wait, so this never spins.
        next.unwrap_or(now + LOOK_EVERY)
            .max(now + Duration::from_millis(1))
    }

    fn give_all_back(&mut self) {
        // Closes the channel: its other end is dropped at once.
        self.hands = mpsc::channel(1).0;
        self.words.release_all(self.held.drain().map(|(id, _)| id));
    }
}
