//! Are the queues there, and as declared? Several are asked about at a time, each by a passive
//! declaration (is it there?) and then by a comparison (are its arguments the same?): on a
//! connection of 20 ms a hundred queues take a second. Neither can declare a queue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use hookbox_driver::TopologyDifference;
use lapin::options::QueueDeclareOptions;
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};

use crate::refusal::soft_error;
use crate::topology::QueueDeclaration;

/// Questions under way at once, each on a channel of its own: an error closes the channel.
const LANES: usize = 8;

/// An argument that makes a declaration a mere comparison. RabbitMQ compares the arguments that
/// the existing queue's type knows, and this one is of streams only; before it makes a queue it
/// checks every argument, and this one is neither known to a quorum queue nor a length of time.
/// So a queue that was deleted a moment ago is refused, and not declared (H18).
const NEVER_DECLARED: (&str, &str) = ("x-max-age", "never");

/// What a queue is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    AsDeclared,
    Missing,
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
        the_cause(join_all(lanes).await)
    }

    async fn lane(&self, connection: &Connection, next: &AtomicUsize) -> Result<(), lapin::Error> {
        let mut asker = Asker::new(connection);
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(queue) = self.queues.get(place) else {
                return Ok(());
            };
            let state = asker.examine(queue).await?;
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
struct Asker<'a> {
    connection: &'a Connection,
    channel: Option<Channel>,
}

impl<'a> Asker<'a> {
    fn new(connection: &'a Connection) -> Self {
        Self {
            connection,
            channel: None,
        }
    }

    async fn examine(&mut self, queue: &QueueDeclaration) -> Result<State, lapin::Error> {
        if !self.is_there(&queue.name).await? {
            return Ok(State::Missing);
        }
        self.compare(queue).await
    }

    async fn is_there(&mut self, name: &str) -> Result<bool, lapin::Error> {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::durable()
        };
        let Err(error) = self.ask(name, passive, FieldTable::default()).await else {
            return Ok(true);
        };
        match soft_error(&error) {
            Some((AMQPSoftError::NOTFOUND, _)) => Ok(false),
            // It exists and something else is the matter: the comparison will say what.
            Some((AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::RESOURCELOCKED, _)) => {
                Ok(true)
            }
            Some(_) | None => Err(error),
        }
    }

    /// Compares the arguments of a queue that was there.
    async fn compare(&mut self, queue: &QueueDeclaration) -> Result<State, lapin::Error> {
        let mut arguments = queue.table();
        let (name, value) = NEVER_DECLARED;
        arguments.insert(name.into(), AMQPValue::LongString(value.into()));
        let durable = QueueDeclareOptions::durable();
        let Err(error) = self.ask(&queue.name, durable, arguments).await else {
            return Ok(State::AsDeclared);
        };
        let Some((AMQPSoftError::PRECONDITIONFAILED, text)) = soft_error(&error) else {
            return Err(error);
        };
        // It differs, or it was deleted since and RabbitMQ refuses to make such a queue.
        Ok(if self.is_there(&queue.name).await? {
            State::Different(difference(queue, &text))
        } else {
            State::Missing
        })
    }

    async fn ask(
        &mut self,
        name: &str,
        options: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Result<(), lapin::Error> {
        // Put back only after an answer that leaves the channel open.
        let channel = match self.channel.take() {
            Some(channel) => channel,
            None => self.connection.create_channel().await?,
        };
        let queue = channel.queue_declare(name.into(), options, arguments);
        queue.await?;
        self.channel = Some(channel);
        Ok(())
    }
}

/// Of what failed on one connection, what the broker said. Where it closes the connection, only
/// the question that it answers so learns why; the others learn that the connection is gone.
fn the_cause(results: Vec<Result<(), lapin::Error>>) -> Result<(), lapin::Error> {
    let mut errors: Vec<lapin::Error> = results.into_iter().filter_map(Result::err).collect();
    // Stable: of several causes, the first.
    errors.sort_by_key(|error| !error.is_amqp_error());
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// A queue that is not as declared, in the broker's words.
fn difference(queue: &QueueDeclaration, text: &str) -> TopologyDifference {
    TopologyDifference {
        queue: queue.name.clone(),
        difference: format!(
            "{text}; hookbox never deletes or redeclares a queue: move its messages and delete \
             it, or give this environment another name"
        ),
    }
}

#[cfg(test)]
mod tests;
