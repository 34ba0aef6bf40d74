//! A broker in memory with queues, prefetch and redelivery of messages that are not acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hookbox_driver::{
    Batch, Broker, Delivery, Depth, Fault, FaultKind, PublishError, PublishErrorKind, Queue,
    Readiness, Settler, Subscription,
};
use hookbox_event::{Account, RouteName};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::journal::Journal;
use crate::memory_process::MemoryProcess;

/// The delay before a message that was put back is delivered again. Without it, a worker that puts
/// everything back at once would keep the paused clock from advancing, and the test would never
/// end.
const REDELIVERY: Duration = Duration::from_millis(10);

/// How many times a message of a route may be put back before the broker moves it to the
/// dead-letter queue.
const DELIVERY_LIMIT: u32 = 50;

#[derive(Debug, Clone, Default)]
pub struct Message {
    pub bytes: Bytes,
    pub redelivered: bool,
    pub died_in: Option<String>,
    pub put_back: u32,
}

/// The queues, which all processes share.
#[derive(Default)]
pub struct Queues {
    state: Mutex<State>,
    changed: Notify,
    journal: Arc<Journal>,
}

#[derive(Default)]
pub struct State {
    waiting: BTreeMap<Queue, VecDeque<Waiting>>,
    unsettled: BTreeMap<u64, Unsettled>,
    tags: u64,
    /// The number of the current connection. It grows whenever all subscriptions break.
    connection: u64,
    pub acked: u64,
    /// The error with which every publish fails, if one is set.
    pub refuses: Option<PublishErrorKind>,
    /// The route to which every publish fails, if there is one.
    pub refused_route: Option<RouteName>,
    /// Whether every subscription fails.
    pub is_unavailable: bool,
    pub published: u64,
    pub subscribed: u64,
    /// The prefetch of the last subscription to each queue.
    pub prefetch: BTreeMap<Queue, u16>,
}

struct Waiting {
    message: Message,
    /// The message is delivered at this time at the earliest.
    ready_at: Instant,
}

struct Unsettled {
    process: u64,
    queue: Queue,
    message: Message,
}

impl Queues {
    pub fn new(journal: &Arc<Journal>) -> Self {
        Self {
            journal: Arc::clone(journal),
            ..Self::default()
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn put(&self, queue: Queue, bytes: Bytes, redelivered: bool) {
        let message = Message {
            bytes,
            redelivered,
            ..Message::default()
        };
        self.put_message(queue, message);
    }

    pub fn put_message(&self, queue: Queue, message: Message) {
        let mut state = self.state();
        let waiting = state.waiting.entry(queue).or_default();
        waiting.push_back(Waiting {
            message,
            ready_at: Instant::now(),
        });
        drop(state);
        self.changed.notify_waiters();
    }

    pub fn waiting(&self, queue: &Queue) -> Vec<Message> {
        let state = self.state();
        let waiting = state.waiting.get(queue).into_iter().flatten();
        waiting.map(|it| it.message.clone()).collect()
    }

    pub fn unsettled(&self) -> usize {
        self.state().unsettled.len()
    }

    /// Breaks every subscription, and redelivers the messages that they had in flight.
    pub fn lose_connections(&self) {
        let mut state = self.state();
        state.connection += 1;
        let tags: Vec<u64> = state.unsettled.keys().copied().collect();
        drop(state);
        for tag in tags {
            self.put_back(tag);
        }
        self.changed.notify_waiters();
    }

    pub fn put_back_all_of(&self, process: u64) {
        let state = self.state();
        let own = state.unsettled.iter().filter(|it| it.1.process == process);
        let tags: Vec<u64> = own.map(|it| *it.0).collect();
        drop(state);
        for tag in tags.into_iter().rev() {
            self.put_back(tag);
        }
    }

    fn put_back(&self, tag: u64) {
        let mut state = self.state();
        if let Some(mut it) = state.unsettled.remove(&tag) {
            it.message.redelivered = true;
            it.message.put_back += 1;
            if let Queue::Route(route) = &it.queue
                && it.message.put_back > DELIVERY_LIMIT
            {
                it.message.died_in = Some(format!("hookbox.test.route.{route}"));
                it.queue = Queue::Dead;
            }
            let waiting = state.waiting.entry(it.queue).or_default();
            waiting.push_front(Waiting {
                message: it.message,
                ready_at: Instant::now() + REDELIVERY,
            });
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

pub struct MemoryBroker(pub Arc<MemoryProcess>);

#[async_trait]
impl Broker for MemoryBroker {
    async fn publish(&self, routes: &[RouteName], batch: &Batch) -> Result<(), PublishError> {
        self.0.step().await;
        let queues = &self.0.queues;
        if let Some(kind) = queues.state().refuses {
            return Err(PublishError::plain(kind));
        }
        if routes
            .iter()
            .any(|it| queues.state().refused_route.as_ref() == Some(it))
        {
            return Err(PublishError::plain(PublishErrorKind::Rejected));
        }
        for route in routes {
            queues.put(Queue::Route(route.clone()), batch.bytes.clone(), false);
        }
        queues.state().published += 1;
        Ok(())
    }

    async fn publish_report(&self, _account: &Account) -> Result<(), PublishError> {
        Err(PublishError::plain(PublishErrorKind::Unroutable))
    }

    async fn subscribe(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, Fault> {
        self.0.step().await;
        let mut state = self.0.queues.state();
        if state.is_unavailable {
            return Err(Fault::plain(FaultKind::Unavailable, "subscribe"));
        }
        state.subscribed += 1;
        state.prefetch.insert(queue.clone(), prefetch);
        Ok(Box::new(Taking {
            process: Arc::clone(&self.0),
            queue: queue.clone(),
            prefetch: prefetch.into(),
            connection: state.connection,
        }))
    }

    async fn depths(&self) -> Result<Vec<Depth>, Fault> {
        Ok(Vec::new())
    }

    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }

    async fn close(&self) {}
}

struct Taking {
    process: Arc<MemoryProcess>,
    queue: Queue,
    prefetch: usize,
    connection: u64,
}

#[async_trait]
impl Subscription for Taking {
    async fn next(&mut self) -> Result<Delivery, Fault> {
        loop {
            self.process.step().await;
            let queues = Arc::clone(&self.process.queues);
            let changed = queues.changed.notified();
            if queues.state().connection != self.connection {
                return Err(Fault::plain(FaultKind::Unavailable, "take a message"));
            }
            if let Some(delivery) = self.try_next() {
                return Ok(delivery);
            }
            match self.next_ready() {
                Some(ready_at) => {
                    // Waits until the queue changes or the next message that was put back becomes
                    // ready. Then the loop checks the queue again.
                    let _elapsed = timeout_at(ready_at, changed).await;
                }
                None => changed.await,
            }
        }
    }

    fn try_next(&mut self) -> Option<Delivery> {
        let mut state = self.process.queues.state();
        let process = self.process.number;
        let own = |it: &&Unsettled| it.process == process && it.queue == self.queue;
        let in_flight = state.unsettled.values().filter(own).count();
        if self.process.is_dead() || in_flight >= self.prefetch {
            return None;
        }
        let waiting = state.waiting.get_mut(&self.queue)?;
        let is_ready = |it: &Waiting| it.ready_at <= Instant::now();
        let first = waiting.iter().position(is_ready)?;
        let message = waiting.remove(first)?.message;
        state.tags += 1;
        let tag = state.tags;
        let unsettled = Unsettled {
            process,
            queue: self.queue.clone(),
            message: message.clone(),
        };
        state.unsettled.insert(tag, unsettled);
        drop(state);
        let Message {
            bytes,
            redelivered,
            died_in,
            put_back: _,
        } = message;
        let settling = Settling {
            process: Arc::clone(&self.process),
            tag,
        };
        Some(Delivery::new(
            bytes,
            redelivered,
            died_in,
            Box::new(settling),
        ))
    }

    async fn close(self: Box<Self>) {
        self.process.step().await;
    }
}

impl Taking {
    /// Returns when the next message that was put back can be delivered again.
    fn next_ready(&self) -> Option<Instant> {
        let state = self.process.queues.state();
        let waiting = state.waiting.get(&self.queue).into_iter().flatten();
        let later = waiting.filter(|it| it.ready_at > Instant::now());
        later.map(|it| it.ready_at).min()
    }
}

/// Settles one message. Dropping it puts the message back on its queue.
struct Settling {
    process: Arc<MemoryProcess>,
    tag: u64,
}

#[async_trait]
impl Settler for Settling {
    async fn ack(self: Box<Self>) -> Result<(), Fault> {
        self.process.step().await;
        let queues = &self.process.queues;
        let mut state = queues.state();
        if state.unsettled.remove(&self.tag).is_none() {
            return Err(Fault::plain(
                FaultKind::Unavailable,
                "acknowledge a message",
            ));
        }
        state.acked += 1;
        drop(state);
        queues.journal.note("ack");
        queues.changed.notify_waiters();
        Ok(())
    }

    async fn release(self: Box<Self>) -> Result<(), Fault> {
        self.process.step().await;
        self.process.queues.journal.note("release");
        Ok(())
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        if !self.process.is_dead() {
            self.process.queues.put_back(self.tag);
        }
    }
}
