//! Group commit for webhooks: whatever waits when a lane is free becomes one message of the
//! broker and shares one confirm, as a database shares one fsync between commits.
//!
//! Lanes own their publishes. A sender that goes away cancels nothing: its event is stored, and
//! its retry is a duplicate. A letter that was taken gets its true answer or none.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hookbox_crash::crash_point;
use hookbox_driver::{Batch, Broker, PublishError, PublishErrorKind, describe};
use hookbox_event::{Envelope, InstanceId, ReceiptId, SourceName, Timestamp, Topic};
use hookbox_signature::Verified;
use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

use crate::body_memory::BodyRoom;
use crate::book::Book;
use crate::counters::add;
use crate::failure_log::FailureLog;
use crate::identify::Identified;
use crate::response::NotAccepted;
use crate::{Counters, Limits, Routing};

/// A verified request, ready to travel. There is no way to make one without `Verified`.
pub(crate) struct Letter {
    pub receipt: ReceiptId,
    pub source: SourceName,
    pub identified: Identified,
    pub received_at: Timestamp,
    pub traceparent: Option<String>,
    pub verified: Verified,
    /// Its share of the memory for bodies. It is held until the broker has answered: a sender
    /// that left takes its connection away, not its body.
    pub room: BodyRoom,
}

type Answer = Result<(), PublishErrorKind>;

struct Waiting {
    letter: Letter,
    answer: oneshot::Sender<Answer>,
}

/// What waits, by topic, with the topics in the order of their oldest letter.
#[derive(Default)]
struct Queue {
    by_topic: HashMap<Topic, VecDeque<Waiting>>,
    order: VecDeque<Topic>,
    count: usize,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
    broker: Arc<dyn Broker>,
    routing: Routing,
    batch_max: usize,
    batch_bytes_max: usize,
    waiting_max: usize,
    instance: InstanceId,
    book: Arc<Book>,
    counters: Arc<Counters>,
    failures: Arc<FailureLog>,
}

pub(crate) struct Batcher {
    shared: Arc<Shared>,
}

impl Batcher {
    pub fn start(
        tasks: &TaskTracker,
        broker: Arc<dyn Broker>,
        routing: Routing,
        limits: &Limits,
        (instance, book): (InstanceId, Arc<Book>),
        (counters, failures): (Arc<Counters>, Arc<FailureLog>),
    ) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Notify::new(),
            broker,
            routing,
            batch_max: limits.batch_max,
            batch_bytes_max: limits.batch_bytes_max,
            waiting_max: limits.waiting_max,
            instance,
            book,
            counters,
            failures,
        });
        for _ in 0..limits.lanes {
            tasks.spawn(Arc::clone(&shared).lane());
        }
        Self { shared }
    }

    /// Puts a letter into the next batch and waits until the broker has it on disk. After the
    /// deadline the answer is no, even if the confirm comes later: the retry is deduplicated.
    pub async fn publish(&self, letter: Letter, deadline: Duration) -> Result<(), NotAccepted> {
        let (answer, answered) = oneshot::channel();
        {
            let mut queue = self.shared.lock();
            if queue.closed {
                return Err(NotAccepted::Draining);
            }
            if queue.count >= self.shared.waiting_max {
                return Err(NotAccepted::TooBusy);
            }
            queue.push(Waiting { letter, answer });
            self.shared.tell_waiting(&queue);
        }
        self.shared.filled.notify_one();
        let not = NotAccepted::NotDurable;
        match tokio::time::timeout(deadline, answered).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(kind))) => Err(not(kind)),
            // Publishing panicked: nobody can say that it is on disk.
            Ok(Err(_dropped)) => Err(not(PublishErrorKind::Unavailable)),
            Err(_elapsed) => Err(not(PublishErrorKind::TimedOut)),
        }
    }

    /// Takes nothing more; lanes end when what waits is published.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_waiters();
    }
}

impl Queue {
    fn push(&mut self, waiting: Waiting) {
        let topic = waiting.letter.identified.topic.clone();
        let of_topic = self.by_topic.entry(topic.clone()).or_default();
        if of_topic.is_empty() {
            self.order.push_back(topic);
        }
        of_topic.push_back(waiting);
        self.count += 1;
    }

    /// As many letters of one topic as make a batch; none when nothing waits.
    fn take(&mut self, batch_max: usize, batch_bytes_max: usize) -> Vec<Waiting> {
        let Some(topic) = self.order.pop_front() else {
            return Vec::new();
        };
        let Some(of_topic) = self.by_topic.get_mut(&topic) else {
            return Vec::new();
        };
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some(next) = of_topic.front() {
            bytes += next.letter.verified.body().len();
            let full = taken.len() >= batch_max || bytes > batch_bytes_max;
            if full && !taken.is_empty() {
                break;
            }
            taken.extend(of_topic.pop_front());
        }
        if of_topic.is_empty() {
            self.by_topic.remove(&topic);
        } else {
            self.order.push_back(topic);
        }
        self.count -= taken.len();
        taken
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it holds the lock; were it otherwise, the queue is still whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_waiting(&self, queue: &Queue) {
        let count = queue.count as u64;
        self.counters.waiting.store(count, Ordering::Relaxed);
    }

    async fn lane(self: Arc<Self>) {
        loop {
            let filled = self.filled.notified();
            let (taken, closed) = {
                let mut queue = self.lock();
                let taken = queue.take(self.batch_max, self.batch_bytes_max);
                self.tell_waiting(&queue);
                (taken, queue.closed)
            };
            if !taken.is_empty() {
                // What is left is for another lane.
                self.filled.notify_one();
                // A panic drops what was taken, which answers 503 to those who wait for it. The
                // lane goes on: without its lanes an ingest would refuse everything.
                let published = AssertUnwindSafe(self.publish(taken)).catch_unwind();
                if published.await.is_err() {
                    tracing::error!("publishing a batch panicked; its requests were answered 503");
                }
            } else if closed {
                self.filled.notify_waiters();
                return;
            } else {
                filled.await;
            }
        }
    }

    async fn publish(&self, taken: Vec<Waiting>) {
        // Whoever has stopped waiting was told no; publishing it would only make a duplicate.
        let (letters, answers): (Vec<Letter>, Vec<oneshot::Sender<Answer>>) = taken
            .into_iter()
            .filter(|waiting| !waiting.answer.is_closed())
            .map(|waiting| (waiting.letter, waiting.answer))
            .unzip();
        let numbers = self.book.numbers(letters.len());
        let (envelopes, _rooms): (Vec<Envelope>, Vec<BodyRoom>) = letters
            .into_iter()
            .zip(numbers.first..)
            .map(|(letter, number)| self.envelope(letter, number))
            .unzip();
        let Some(batch) = Batch::of(&envelopes) else {
            return;
        };
        let routes = self.routing.routes_of(&batch.topic);
        crash_point!("ingest.before_publish");
        let began = Instant::now();
        let answer = match self.broker.publish(&routes, &batch).await {
            Ok(()) => {
                self.counters.confirms.note(began.elapsed());
                crash_point!("ingest.after_publish");
                add(&self.counters.batches, 1);
                let receipts = envelopes.iter().map(|envelope| envelope.receipt).collect();
                numbers.confirmed(routes, receipts);
                Ok(())
            }
            Err(error) => {
                self.log_failure(&batch, &error);
                Err(error.kind)
            }
        };
        for waiting in answers {
            // Gone senders will send again.
            let _ = waiting.send(answer);
        }
    }

    fn log_failure(&self, batch: &Batch, error: &PublishError) {
        let (topic, count) = (&batch.topic, batch.count);
        if !self.failures.admits(error.kind, count as u64) {
            tracing::debug!(%topic, count, "requests were answered 503: not on disk");
            return;
        }
        tracing::warn!(
            topic = %topic,
            count,
            kind = error.kind.as_str(),
            error = describe(error),
            "{count} requests of topic {topic} were answered 503: not on disk; more of this kind \
             are counted, and logged within a minute"
        );
    }

    fn envelope(&self, letter: Letter, number: u64) -> (Envelope, BodyRoom) {
        let Letter {
            receipt,
            source,
            identified,
            received_at,
            traceparent,
            verified,
            room,
        } = letter;
        let envelope = Envelope {
            receipt,
            source,
            topic: identified.topic,
            event: identified.event,
            digest: identified.digest,
            received_at,
            key_id: verified.key_id().to_owned(),
            instance: self.instance,
            number,
            seal: None,
            traceparent,
            redo: None,
            body: verified.body().clone(),
        };
        (envelope, room)
    }
}

#[cfg(test)]
mod tests;
