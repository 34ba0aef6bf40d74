//! Checks whether the queues exist as declared. The check of a queue first declares the queue
//! passively, which shows whether it exists. The check then compares the queue's arguments with
//! those in hookbox's declaration. Neither step can create a queue. Several queues are checked at a
//! time. So with a round trip of 20 ms, the check of a hundred queues takes about a second.

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

/// How many queues are checked at a time. Each of these checks runs on its own channel, because an
/// error closes the channel.
const CHECKS_AT_ONCE: usize = 8;

/// An extra argument with which a declaration compares the arguments of an existing queue, and
/// never creates a queue (H18). If the queue exists, RabbitMQ ignores this argument, because only
/// streams use it. If the queue was deleted a moment ago, RabbitMQ refuses the declaration, because
/// a quorum queue may not be created with this argument, and the value is not a length of time.
const NEVER_DECLARED: (&str, &str) = ("x-max-age", "never");

/// What a check found out about one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    AsDeclared,
    Missing,
    Different(TopologyDifference),
}

/// One check of all queues. Its findings can be read while it runs.
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

    /// Checks all queues. A caller that drops this future before it completes must also close the
    /// connection. Otherwise a later reply arrives for a call that no longer waits, and the client
    /// library closes the connection then.
    ///
    /// # Errors
    /// When the user may not check a queue, or the connection is lost.
    pub async fn run(&self, connection: &Connection) -> Result<(), lapin::Error> {
        let next = AtomicUsize::new(0);
        let checkers = CHECKS_AT_ONCE.min(self.queues.len());
        let checkers = (0..checkers).map(|_| self.check_next(connection, &next));
        the_cause(join_all(checkers).await)
    }

    async fn check_next(
        &self,
        connection: &Connection,
        next: &AtomicUsize,
    ) -> Result<(), lapin::Error> {
        let mut checker = Checker::new(connection);
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(queue) = self.queues.get(place) else {
                return Ok(());
            };
            let state = checker.examine(queue).await?;
            self.seen().insert(place, state);
        }
    }

    /// Returns how many queues have no result yet.
    pub fn left(&self) -> usize {
        self.queues.len() - self.seen().len()
    }

    /// Returns the queues that were found missing so far, in the order of the queues to check.
    pub fn missing(&self) -> Vec<&'a QueueDeclaration> {
        let seen = self.seen();
        let missing = seen.iter().filter(|(_, state)| **state == State::Missing);
        missing.map(|(place, _)| &self.queues[*place]).collect()
    }

    /// Returns the differences from the declarations that were found so far.
    pub fn differences(&self) -> Vec<TopologyDifference> {
        let one = |state: &State| match state {
            State::Different(difference) => Some(difference.clone()),
            State::AsDeclared | State::Missing => None,
        };
        self.seen().values().filter_map(one).collect()
    }

    // No code panics while it holds this lock, so the lock is never poisoned.
    fn seen(&self) -> MutexGuard<'_, BTreeMap<usize, State>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks whether a queue exists, and if `arguments` are given, whether the queue was declared with
/// these arguments.
///
/// # Errors
/// When the user may not check the queue, or the connection is lost.
pub(crate) async fn examine_one(
    connection: &Connection,
    queue: &str,
    arguments: Option<FieldTable>,
) -> Result<State, lapin::Error> {
    let mut checker = Checker::new(connection);
    if !checker.is_there(queue).await? {
        return Ok(State::Missing);
    }
    match arguments {
        Some(arguments) => checker.compare_with(queue, arguments).await,
        None => Ok(State::AsDeclared),
    }
}

/// Checks queues one after the other, on one channel. If an error has closed that channel, the
/// checker opens another channel.
struct Checker<'a> {
    connection: &'a Connection,
    channel: Option<Channel>,
}

impl<'a> Checker<'a> {
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
        let Err(error) = self.declare(name, passive, FieldTable::default()).await else {
            return Ok(true);
        };
        match soft_error(&error) {
            Some((AMQPSoftError::NOTFOUND, _)) => Ok(false),
            // The queue exists, but differs from its declaration or is locked. `compare` finds out
            // what differs.
            Some((AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::RESOURCELOCKED, _)) => {
                Ok(true)
            }
            Some(_) | None => Err(error),
        }
    }

    /// Compares the arguments of a queue with those declared. The queue was just found to exist.
    async fn compare(&mut self, queue: &QueueDeclaration) -> Result<State, lapin::Error> {
        self.compare_with(&queue.name, queue.table()).await
    }

    async fn compare_with(
        &mut self,
        queue: &str,
        mut arguments: FieldTable,
    ) -> Result<State, lapin::Error> {
        let (name, value) = NEVER_DECLARED;
        arguments.insert(name.into(), AMQPValue::LongString(value.into()));
        let durable = QueueDeclareOptions::durable();
        let Err(error) = self.declare(queue, durable, arguments).await else {
            return Ok(State::AsDeclared);
        };
        let Some((AMQPSoftError::PRECONDITIONFAILED, text)) = soft_error(&error) else {
            return Err(error);
        };
        // RabbitMQ refused the declaration. Either the queue's arguments differ, or the queue was
        // deleted in the meantime and RabbitMQ does not create a queue with `NEVER_DECLARED`.
        Ok(if self.is_there(queue).await? {
            State::Different(difference(queue, &text))
        } else {
            State::Missing
        })
    }

    async fn declare(
        &mut self,
        name: &str,
        options: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Result<(), lapin::Error> {
        // An error closes the channel, so the channel is put back only after a success.
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

/// Returns the error that holds the broker's reason, out of several errors on one connection. When
/// the broker closes the connection, only the check that caused this gets the reason; the other
/// checks get an error that says that the connection was lost.
fn the_cause(results: Vec<Result<(), lapin::Error>>) -> Result<(), lapin::Error> {
    let mut errors: Vec<lapin::Error> = results.into_iter().filter_map(Result::err).collect();
    // The sort is stable, so if several errors hold a reason, the first of them is returned.
    errors.sort_by_key(|error| !error.is_amqp_error());
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// Builds the finding that a queue differs from its declaration. `text` is the broker's error text.
fn difference(queue: &str, text: &str) -> TopologyDifference {
    TopologyDifference {
        queue: queue.to_owned(),
        difference: format!(
            "{text}; hookbox never deletes or redeclares a queue: move the queue's messages and \
             delete the queue, or give this environment another name"
        ),
    }
}

#[cfg(test)]
mod canaries;
#[cfg(test)]
mod tests;
