//! Group commit for webhooks. Transactions of a database can share one fsync, and in the same way
//! requests share one confirm: when a publish slot is free, the waiting requests of one topic that
//! go to the same routes become one message of the broker.
//!
//! A publish runs in the task of its publish slot and not in that of a request. So a sender that
//! disconnects cancels no publish: its event is stored, and its retry is a duplicate. A request is
//! answered 200 only after its publish was confirmed.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hookbox_crash::crash_point;
use hookbox_driver::{Batch, Broker, PublishError, PublishErrorKind, describe};
use hookbox_event::{
    Envelope, InstanceId, MatchedRoutes, ReceiptId, RouteName, Routing, SourceName, Timestamp,
};
use hookbox_signature::Verified;
use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

use crate::accounting::Accounting;
use crate::body_memory::BodyRoom;
use crate::counters::add;
use crate::failure_log::FailureLog;
use crate::identify::{Destination, Identified};
use crate::response::NotAccepted;
use crate::{Counters, Limits};

/// A verified request that is ready to be published. It cannot be built without a `Verified`, which
/// proves that the signature was verified.
pub(crate) struct AcceptedRequest {
    pub receipt: ReceiptId,
    pub source: SourceName,
    pub identified: Identified,
    pub received_at: Timestamp,
    pub traceparent: Option<String>,
    pub verified: Verified,
    /// The share of the memory for bodies that this request uses. It is held until the broker has
    /// answered, because the body stays in memory until then, even when the sender disconnects.
    pub room: BodyRoom,
}

type PublishResult = Result<(), PublishErrorKind>;

struct QueuedRequest {
    request: AcceptedRequest,
    answer: oneshot::Sender<PublishResult>,
}

/// The requests that wait for a publish slot, by their destinations. `order` contains the
/// destinations in the order in which they are served next.
#[derive(Default)]
struct Queue {
    by_destination: HashMap<Destination, VecDeque<QueuedRequest>>,
    order: VecDeque<Destination>,
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
    accounting: Arc<Accounting>,
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
        (instance, accounting): (InstanceId, Arc<Accounting>),
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
            accounting,
            counters,
            failures,
        });
        for _ in 0..limits.publish_slots {
            tasks.spawn(Arc::clone(&shared).run_publish_slot());
        }
        Self { shared }
    }

    /// Puts a request into the next batch and waits until the broker has it on disk. After the
    /// deadline it returns an error, even if the confirm arrives later: the provider's retry is
    /// then deduplicated.
    pub async fn publish(
        &self,
        request: AcceptedRequest,
        deadline: Duration,
    ) -> Result<(), NotAccepted> {
        let (answer, answered) = oneshot::channel();
        {
            let mut queue = self.shared.lock();
            if queue.closed {
                return Err(NotAccepted::Draining);
            }
            if queue.count >= self.shared.waiting_max {
                return Err(NotAccepted::TooBusy);
            }
            queue.push(QueuedRequest { request, answer });
            self.shared.count_waiting(&queue);
        }
        self.shared.filled.notify_one();
        let not = NotAccepted::NotDurable;
        match tokio::time::timeout(deadline, answered).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(kind))) => Err(not(kind)),
            // The publish panicked, so it is unknown whether the broker has the message on disk.
            // The request is answered 503, and the retry may become a duplicate.
            Ok(Err(_dropped)) => Err(not(PublishErrorKind::Unavailable)),
            Err(_elapsed) => Err(not(PublishErrorKind::TimedOut)),
        }
    }

    /// Makes the batcher refuse new requests. The publish slots end once every waiting request is
    /// published.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_waiters();
    }
}

impl Queue {
    fn push(&mut self, waiting: QueuedRequest) {
        self.count += 1;
        // A destination is in the map only while it has requests.
        let destination = &waiting.request.identified.destination;
        if let Some(of_same) = self.by_destination.get_mut(destination) {
            return of_same.push_back(waiting);
        }
        let destination = destination.clone();
        self.order.push_back(destination.clone());
        self.by_destination
            .insert(destination, VecDeque::from([waiting]));
    }

    /// Takes as many requests of one destination as fit into a batch; none when the queue is empty.
    fn take(&mut self, batch_max: usize, batch_bytes_max: usize) -> Vec<QueuedRequest> {
        let Some(destination) = self.order.pop_front() else {
            return Vec::new();
        };
        let Some(of_same) = self.by_destination.get_mut(&destination) else {
            return Vec::new();
        };
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some(next) = of_same.front() {
            bytes += next.request.verified.body().len();
            let full = taken.len() >= batch_max || bytes > batch_bytes_max;
            if full && !taken.is_empty() {
                break;
            }
            taken.extend(of_same.pop_front());
        }
        if of_same.is_empty() {
            self.by_destination.remove(&destination);
        } else {
            self.order.push_back(destination);
        }
        self.count -= taken.len();
        taken
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code panics while it holds the lock. Even after a panic the queue would be consistent.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_waiting(&self, queue: &Queue) {
        let count = queue.count as u64;
        self.counters.waiting.store(count, Ordering::Relaxed);
    }

    async fn run_publish_slot(self: Arc<Self>) {
        loop {
            let filled = self.filled.notified();
            // A request that arrives wakes this task before the tasks of other connections that
            // have a request ready. Yielding lets those run first, so their requests share this
            // batch; without it, an idle ingest would publish batches of one. Yielding is no timer:
            // no request waits for another that has not arrived yet.
            tokio::task::yield_now().await;
            let (taken, closed) = {
                let mut queue = self.lock();
                let taken = queue.take(self.batch_max, self.batch_bytes_max);
                self.count_waiting(&queue);
                (taken, queue.closed)
            };
            if !taken.is_empty() {
                // Wakes another publish slot for the requests that are still in the queue.
                self.filled.notify_one();
                // A panic drops the batch, and with it the channels on which its requests wait, so
                // they are answered 503. The publish slot continues: an ingest without publish
                // slots would refuse every request.
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

    async fn publish(&self, taken: Vec<QueuedRequest>) {
        // If the receiver of `answer` is gone, the request was already answered 503, or its
        // connection was closed. Publishing it would only add a duplicate of the provider's retry.
        let (requests, answers): (Vec<AcceptedRequest>, Vec<oneshot::Sender<PublishResult>>) =
            taken
                .into_iter()
                .filter(|waiting| !waiting.answer.is_closed())
                .map(|waiting| (waiting.request, waiting.answer))
                .unzip();
        let matched = requests
            .first()
            .map_or_else(MatchedRoutes::default, |first| {
                first.identified.destination.matched.clone()
            });
        let numbers = self.accounting.numbers(requests.len());
        let (envelopes, _rooms): (Vec<Envelope>, Vec<BodyRoom>) = requests
            .into_iter()
            .zip(numbers.first..)
            .map(|(request, number)| self.envelope(request, number))
            .unzip();
        let Some(batch) = Batch::of(&envelopes) else {
            return;
        };
        let routes = self.routing.routes_of(&batch.topic, &matched);
        crash_point!("ingest.before_publish");
        let began = Instant::now();
        let answer = match self.broker.publish(&routes, &batch).await {
            Ok(()) => {
                self.counters.confirms.note(began.elapsed());
                self.count_unrouted(&routes, &envelopes);
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
            // `send` fails when nothing waits for the result any more, because the deadline has
            // passed or the provider has disconnected. The provider will send the request again.
            let _ = waiting.send(answer);
        }
    }

    fn count_unrouted(&self, routes: &[RouteName], envelopes: &[Envelope]) {
        if let ([route], [first, ..]) = (routes, envelopes)
            && *route == self.routing.unrouted
        {
            let source = first.source.as_str();
            self.counters.add_unrouted(source, envelopes.len() as u64);
        }
    }

    fn log_failure(&self, batch: &Batch, error: &PublishError) {
        let (topic, count) = (&batch.topic, batch.count);
        if !self.failures.admits(error.kind, count as u64) {
            tracing::debug!(%topic, count, "requests were answered 503: not on disk in time");
            return;
        }
        tracing::warn!(
            topic = %topic,
            count,
            kind = error.kind.as_str(),
            error = describe(error),
            "{count} requests of topic {topic} were answered 503: not on disk; further failures \
             of this kind are counted, and logged within a minute"
        );
    }

    fn envelope(&self, request: AcceptedRequest, number: u64) -> (Envelope, BodyRoom) {
        let AcceptedRequest {
            receipt,
            source,
            identified,
            received_at,
            traceparent,
            verified,
            room,
        } = request;
        let (body, key_id) = verified.into_body_and_key_id();
        let envelope = Envelope {
            receipt,
            source,
            topic: identified.destination.topic,
            event: identified.id.event(),
            id_tail: Some(identified.id.tail()),
            digest: identified.digest,
            received_at,
            key_id,
            instance: self.instance,
            number,
            seal: None,
            traceparent,
            redo: None,
            body,
        };
        (envelope, room)
    }
}

#[cfg(test)]
mod tests;
