//! A subscription of the simulated broker, and its deliveries. A message may be delivered twice or
//! out of order, and its acknowledgement may be lost, late or rejected.

use std::sync::Arc;

use async_trait::async_trait;
use hookbox_driver::{Delivery, Fault as OurFault, Queue, Settler, Subscription};
use hookbox_event::RouteName;
use tokio::sync::Notify;

use crate::fault::Fault;
use crate::process::Process;
use crate::queues::Message;
use crate::unavailable::unavailable;
use crate::world::State;

/// How many older messages of its queue a message may overtake at most.
const REORDERED_WITHIN: u64 = 6;

/// A subscription of one process to one queue.
pub(crate) struct QueueSubscription {
    pub process: Arc<Process>,
    pub queue: Queue,
    pub consumer: u64,
    pub notify: Arc<Notify>,
}

#[async_trait]
impl Subscription for QueueSubscription {
    async fn next(&mut self) -> Result<Delivery, OurFault> {
        loop {
            self.process.unless_dead().await;
            if self.process.world.state().queues.is_lost(self.consumer) {
                return Err(unavailable("wait for a message: the connection is gone"));
            }
            if let Some(delivery) = self.try_next() {
                return Ok(delivery);
            }
            self.notify.notified().await;
        }
    }

    fn try_next(&mut self) -> Option<Delivery> {
        if self.process.is_dead() {
            return None;
        }
        loop {
            let world = &self.process.world;
            let waiting = world.state().queues.waiting_for(self.consumer) as u64;
            if waiting == 0 {
                return None;
            }
            let whom = format!("to {}", self.process.name);
            let reordered = waiting > 1 && world.strikes(Fault::Reordered, &whom);
            let place = if reordered {
                world.chance.between(1, (waiting - 1).min(REORDERED_WITHIN))
            } else {
                0
            };
            let place = usize::try_from(place).unwrap_or(0);
            let (tag, message) = world.state().queues.take(self.consumer, place)?;
            if let Queue::Route(route) = &self.queue
                && world.strikes(Fault::GaveUp, &format!("message {}", message.number))
            {
                give_up(&mut world.state(), self.consumer, tag, route);
                continue;
            }
            let twice = world.strikes(Fault::DeliveredTwice, &whom);
            let mut state = world.state();
            if twice {
                let mut copy = message.clone();
                copy.redelivered = true;
                state.queues.put_back(&self.queue, copy, true);
            }
            let text = format!(
                "{} receives message {} of {}{}",
                self.process.name,
                message.number,
                self.queue,
                if message.redelivered { ", again" } else { "" }
            );
            state.trace.note(&text);
            drop(state);
            return Some(self.delivery(tag, message));
        }
    }

    async fn close(self: Box<Self>) {
        self.process.step("close a subscription").await;
        // All acks and releases that were sent before the close have reached the broker by now. A
        // message in flight can still be settled. It is redelivered when the process ends.
        let mut state = self.process.world.state();
        if let Some(consumer) = state.queues.consumers.get_mut(&self.consumer) {
            consumer.prefetch = 0;
        }
    }
}

impl QueueSubscription {
    fn delivery(&self, tag: u64, message: Message) -> Delivery {
        let Message {
            bytes,
            redelivered,
            died_in,
            ..
        } = message.clone();
        let settling = MessageSettler {
            process: Arc::clone(&self.process),
            consumer: self.consumer,
            tag,
            message,
            queue: self.queue.clone(),
            settled: false,
        };
        Delivery::new(bytes, redelivered, died_in, Box::new(settling))
    }
}

impl Drop for QueueSubscription {
    fn drop(&mut self) {
        // No more messages are delivered to a dropped subscription, but its messages in flight can
        // still be settled.
        let mut state = self.process.world.state();
        if let Some(consumer) = state.queues.consumers.get_mut(&self.consumer) {
            consumer.prefetch = 0;
        }
    }
}

/// Moves a message to the dead-letter queue, as a broker does at its delivery limit.
fn give_up(state: &mut State, consumer: u64, tag: u64, route: &RouteName) {
    if let Some((queue, message)) = state.queues.settle(consumer, tag) {
        let bytes = message.bytes;
        state.queues.gave_up.push((route.clone(), bytes.clone()));
        let died_in = Some(format!("hookbox.simulation.{queue}"));
        state.queues.put(&Queue::Dead, bytes, died_in);
    }
}

/// Settles one delivery. If this value is dropped before that, the message returns to its queue.
struct MessageSettler {
    process: Arc<Process>,
    consumer: u64,
    tag: u64,
    message: Message,
    queue: Queue,
    settled: bool,
}

#[async_trait]
impl Settler for MessageSettler {
    async fn ack(mut self: Box<Self>) -> Result<(), OurFault> {
        self.settled = true;
        let process = Arc::clone(&self.process);
        process.unless_dead().await;
        self.check();
        process.step("ack").await;
        let world = &process.world;
        if world.state().queues.is_lost(self.consumer) {
            world.state().struck(Fault::AckStale, &process.name);
            return if world.chance.percent(50) {
                Ok(())
            } else {
                Err(unavailable("ack: the connection is gone"))
            };
        }
        let faults = [Fault::AckLost, Fault::AckFailed, Fault::AckLate];
        match world.one_of(&faults, &process.name) {
            Some(Fault::AckLost) => {
                world.state().queues.lose_connections(process.number);
                Ok(())
            }
            Some(Fault::AckFailed) => {
                world.state().queues.lose_connections(process.number);
                Err(unavailable("ack: the connection broke"))
            }
            Some(_) => {
                let (consumer, tag) = (self.consumer, self.tag);
                let wait = world.chance.millis(50, 3_000);
                world.after(wait, move |world| {
                    world.state().queues.settle(consumer, tag);
                });
                Ok(())
            }
            None => {
                let mut state = world.state();
                state.queues.settle(self.consumer, self.tag);
                let text = format!("{} has acked message {}", process.name, self.message.number);
                state.trace.note(&text);
                Ok(())
            }
        }
    }

    async fn release(mut self: Box<Self>) -> Result<(), OurFault> {
        self.settled = true;
        let process = Arc::clone(&self.process);
        process.step("release").await;
        self.put_back();
        Ok(())
    }
}

impl MessageSettler {
    /// Checks that every envelope in the message has a committed outcome when an ack is sent (I6).
    fn check(&self) {
        let mut state = self.process.world.state();
        let wanting = state.tables.wanting(&self.queue, &self.message);
        if let Some(what) = wanting {
            let number = self.message.number;
            let text = format!(
                "{} acks message {number} too early: {what}",
                self.process.name
            );
            state.violate("I6", &text);
        }
    }

    fn put_back(&self) {
        let mut state = self.process.world.state();
        if let Some((queue, mut message)) = state.queues.settle(self.consumer, self.tag) {
            message.redelivered = true;
            let text = format!("message {} is put back into {queue}", message.number);
            state.trace.note(&text);
            state.queues.put_back(&queue, message, true);
        }
    }
}

impl Drop for MessageSettler {
    fn drop(&mut self) {
        if !self.settled && !self.process.is_dead() {
            self.put_back();
        }
    }
}
