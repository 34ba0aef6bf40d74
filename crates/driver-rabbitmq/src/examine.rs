//! Are the queues there, and as declared? Several are asked about at a time, each by a passive
//! declaration (is it there?) and then one with arguments (are they the same?): on a link of 20 ms
//! a hundred queues take a second. Nothing is meant to be declared here; a queue that is deleted
//! between the two is, and one that had anything is seen to be another by having nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use hookbox_driver::TopologyDifference;
use lapin::options::QueueDeclareOptions;
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};

use crate::topology::{QueueDeclaration, soft_error};

/// Questions under way at once, each on a channel of its own: an error closes the channel.
const LANES: usize = 8;

/// What a queue is like.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    AsDeclared,
    Missing,
    Different(TopologyDifference),
}

/// What a queue had when it was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Holds {
    messages: u32,
    consumers: u32,
}

impl Holds {
    fn nothing(self) -> bool {
        self == Self::default()
    }

    /// Whether it is another queue than the one before. That one's last message may have gone
    /// together with its last consumer, too; to ask once more costs a connection, and no event.
    fn is_new_after(self, before: Self) -> bool {
        self.nothing() && !before.nothing()
    }
}

/// Whether a queue is there.
enum Look {
    Missing,
    /// With so much; nothing is known of one that is there and does not say.
    There(Holds),
}

/// What came of a declaration.
pub(crate) enum Declared {
    Same(Holds),
    Different(TopologyDifference),
}

/// Each queue once. What it has found can be read while it goes on.
pub(crate) struct Round<'a> {
    queues: &'a [QueueDeclaration],
    seen: Mutex<BTreeMap<usize, State>>,
}

impl<'a> Round<'a> {
    pub fn over(queues: &'a [QueueDeclaration]) -> Self {
        Self {
            queues,
            seen: Mutex::default(),
        }
    }

    /// Asks about all of them. Whoever drops this in the middle of a question must give up the
    /// connection, too: the client library ends it when an answer comes that nobody waits for.
    ///
    /// # Errors
    /// When a queue may not be asked about, or the connection is lost.
    pub async fn run(&self, connection: &Connection) -> Result<(), lapin::Error> {
        let next = AtomicUsize::new(0);
        let lanes = LANES.min(self.queues.len());
        let lanes = (0..lanes).map(|_| self.lane(connection, &next));
        join_all(lanes).await.into_iter().collect()
    }

    async fn lane(&self, connection: &Connection, next: &AtomicUsize) -> Result<(), lapin::Error> {
        let mut asker = Asker::new(connection);
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(queue) = self.queues.get(place) else {
                return Ok(());
            };
            let state = match asker.look(&queue.name).await? {
                Look::Missing => State::Missing,
                Look::There(before) => match asker.declare(queue).await? {
                    Declared::Different(difference) => State::Different(difference),
                    Declared::Same(now) if now.is_new_after(before) => State::Missing,
                    Declared::Same(_) => State::AsDeclared,
                },
            };
            self.seen().insert(place, state);
        }
    }

    /// How many it has not seen yet.
    pub fn left(&self) -> usize {
        self.queues.len() - self.seen().len()
    }

    /// Those that were not there, in the order of their declarations.
    pub fn missing(&self) -> Vec<&'a QueueDeclaration> {
        let seen = self.seen();
        let missing = seen.iter().filter(|(_, state)| **state == State::Missing);
        missing.map(|(place, _)| &self.queues[*place]).collect()
    }

    /// What was not as declared.
    pub fn differences(&self) -> Vec<TopologyDifference> {
        let one = |state: &State| match state {
            State::Different(difference) => Some(difference.clone()),
            State::AsDeclared | State::Missing => None,
        };
        self.seen().values().filter_map(one).collect()
    }

    // Nothing in a lock's scope panics.
    fn seen(&self) -> MutexGuard<'_, BTreeMap<usize, State>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks one question after the other, on one channel as long as that lasts.
pub(crate) struct Asker<'a> {
    connection: &'a Connection,
    channel: Option<Channel>,
}

impl<'a> Asker<'a> {
    pub fn new(connection: &'a Connection) -> Self {
        Self {
            connection,
            channel: None,
        }
    }

    /// Declares a queue; of one that exists, RabbitMQ only compares the arguments.
    pub async fn declare(&mut self, queue: &QueueDeclaration) -> Result<Declared, lapin::Error> {
        let options = QueueDeclareOptions::durable();
        let error = match self.ask(&queue.name, options, queue.table()).await {
            Ok(holds) => return Ok(Declared::Same(holds)),
            Err(error) => error,
        };
        match soft_error(&error) {
            Some((AMQPSoftError::PRECONDITIONFAILED, text)) => {
                Ok(Declared::Different(TopologyDifference {
                    queue: queue.name.clone(),
                    difference: format!(
                        "{text}; hookbox never deletes or redeclares a queue: move its messages \
                         and delete it, or give this environment another name"
                    ),
                }))
            }
            Some(_) | None => Err(error),
        }
    }

    async fn look(&mut self, name: &str) -> Result<Look, lapin::Error> {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::durable()
        };
        match self.ask(name, passive, FieldTable::default()).await {
            Ok(holds) => Ok(Look::There(holds)),
            Err(error) => match soft_error(&error) {
                Some((AMQPSoftError::NOTFOUND, _)) => Ok(Look::Missing),
                // It exists and something else is the matter: the comparison will say what.
                Some((AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::RESOURCELOCKED, _)) => {
                    Ok(Look::There(Holds::default()))
                }
                Some(_) | None => Err(error),
            },
        }
    }

    async fn ask(
        &mut self,
        name: &str,
        options: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Result<Holds, lapin::Error> {
        // Put back only after an answer that leaves the channel open.
        let channel = match self.channel.take() {
            Some(channel) => channel,
            None => self.connection.create_channel().await?,
        };
        let queue = channel.queue_declare(name.into(), options, arguments);
        let queue = queue.await?;
        self.channel = Some(channel);
        Ok(Holds {
            messages: queue.message_count(),
            consumers: queue.consumer_count(),
        })
    }
}

#[cfg(test)]
mod tests;
