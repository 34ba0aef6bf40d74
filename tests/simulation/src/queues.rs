//! The state of the simulated broker: the messages that wait in each queue, and those in flight at
//! each consumer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use hookbox_driver::Queue;
use hookbox_event::{ReceiptId, RouteName};
use tokio::sync::Notify;

#[derive(Clone)]
pub(crate) struct Message {
    pub number: u64,
    pub bytes: Bytes,
    pub redelivered: bool,
    pub died_in: Option<String>,
}

pub(crate) struct Consumer {
    pub queue: Queue,
    pub prefetch: usize,
    pub process: u64,
    /// The messages in flight by delivery tag.
    pub unsettled: BTreeMap<u64, Message>,
    /// Whether the connection of the consumer is gone.
    pub lost: bool,
    pub notify: Arc<Notify>,
}

#[derive(Default)]
pub(crate) struct Queues {
    ready: BTreeMap<Queue, VecDeque<Message>>,
    pub consumers: BTreeMap<u64, Consumer>,
    pub away: bool,
    numbers: u64,
    /// The receipts that the broker has confirmed, each with the route in whose queue it is. An
    /// ingest may answer 200 only for these receipts.
    pub confirmed: BTreeSet<(RouteName, ReceiptId)>,
    /// The messages that the broker moved to the dead-letter queue by itself, with their routes.
    pub gave_up: Vec<(RouteName, Bytes)>,
    pub garbage: Vec<(RouteName, Bytes)>,
}

impl Queues {
    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub fn put(&mut self, queue: &Queue, bytes: Bytes, died_in: Option<String>) -> u64 {
        let number = self.number();
        let message = Message {
            number,
            bytes,
            redelivered: false,
            died_in,
        };
        self.put_back(queue, message, false);
        number
    }

    /// Puts a message back into a queue: at the front if `in_front` is true, otherwise at the end.
    pub fn put_back(&mut self, queue: &Queue, message: Message, in_front: bool) {
        let ready = self.ready.entry(queue.clone()).or_default();
        if in_front {
            ready.push_front(message);
        } else {
            ready.push_back(message);
        }
        self.ring(queue);
    }

    pub fn ring(&self, queue: &Queue) {
        for consumer in self.consumers.values().filter(|it| it.queue == *queue) {
            consumer.notify.notify_one();
        }
    }

    pub fn subscribe(&mut self, queue: &Queue, prefetch: u16, process: u64) -> (u64, Arc<Notify>) {
        let number = self.number();
        let notify = Arc::new(Notify::new());
        let consumer = Consumer {
            queue: queue.clone(),
            prefetch: usize::from(prefetch.max(1)),
            process,
            unsettled: BTreeMap::new(),
            lost: false,
            notify: Arc::clone(&notify),
        };
        self.consumers.insert(number, consumer);
        (number, notify)
    }

    /// Returns how many messages of its queue can be delivered to this consumer now. Returns 0
    /// when its prefetch is used up or its connection is gone.
    pub fn waiting_for(&self, consumer: u64) -> usize {
        let Some(consumer) = self.consumers.get(&consumer) else {
            return 0;
        };
        if consumer.lost || consumer.unsettled.len() >= consumer.prefetch {
            return 0;
        }
        self.ready.get(&consumer.queue).map_or(0, VecDeque::len)
    }

    /// Delivers one message to a consumer: the message at the index `place` of the consumer's
    /// queue. Returns its delivery tag and the message, or `None` if there is no such message.
    pub fn take(&mut self, consumer: u64, place: usize) -> Option<(u64, Message)> {
        let tag = self.number();
        let consumer = self.consumers.get_mut(&consumer)?;
        let message = self.ready.get_mut(&consumer.queue)?.remove(place)?;
        consumer.unsettled.insert(tag, message.clone());
        Some((tag, message))
    }

    /// Removes a message from those in flight, and returns it with its queue. Returns `None` when
    /// it is not in flight any more, because the connection is gone.
    pub fn settle(&mut self, consumer: u64, tag: u64) -> Option<(Queue, Message)> {
        let consumer = self.consumers.get_mut(&consumer)?;
        let message = consumer.unsettled.remove(&tag)?;
        // The prefetch of the consumer has room for another message now.
        consumer.notify.notify_one();
        Some((consumer.queue.clone(), message))
    }

    pub fn is_lost(&self, consumer: u64) -> bool {
        self.consumers.get(&consumer).is_none_or(|it| it.lost)
    }

    /// Breaks the connection of one consumer. Its messages in flight are redelivered.
    pub fn lose(&mut self, number: u64) {
        let Some(consumer) = self.consumers.get_mut(&number) else {
            return;
        };
        consumer.lost = true;
        consumer.notify.notify_one();
        let queue = consumer.queue.clone();
        let unsettled = std::mem::take(&mut consumer.unsettled);
        for (_, mut message) in unsettled.into_iter().rev() {
            message.redelivered = true;
            self.put_back(&queue, message, true);
        }
    }

    pub fn lose_connections(&mut self, process: u64) {
        let of_process = |it: &&u64| self.consumers[*it].process == process;
        let numbers: Vec<u64> = self.consumers.keys().filter(of_process).copied().collect();
        for number in numbers {
            self.lose(number);
        }
    }

    pub fn lose_everything(&mut self) {
        let numbers: Vec<u64> = self.consumers.keys().copied().collect();
        for number in numbers {
            self.lose(number);
        }
    }

    /// Returns the number of messages that are ready or in flight in all queues.
    pub fn left(&self) -> usize {
        let ready: usize = self.ready.values().map(VecDeque::len).sum();
        let unsettled = self.consumers.values().map(|it| it.unsettled.len());
        ready + unsettled.sum::<usize>()
    }

    pub fn describe(&self) -> String {
        let ready = |(queue, ready): (&Queue, &VecDeque<Message>)| {
            (!ready.is_empty()).then(|| format!("{} messages ready in {queue}", ready.len()))
        };
        let in_flight = |it: &Consumer| {
            let count = it.unsettled.len();
            (count > 0).then(|| {
                format!(
                    "{count} messages of {} in flight at {}",
                    it.queue, it.process
                )
            })
        };
        let ready = self.ready.iter().filter_map(ready);
        let in_flight = self.consumers.values().filter_map(in_flight);
        ready.chain(in_flight).collect::<Vec<_>>().join(", ")
    }
}
