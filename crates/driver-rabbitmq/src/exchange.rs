//! Publishes messages to an exchange that belongs to the user. hookbox does not declare this
//! exchange.
//!
//! Every message is persistent, confirmed and mandatory: a message that reaches no queue is an
//! error. The messages have their own connection, so that an exchange that refuses messages does
//! not disturb hookbox's own queues.

mod address;
mod channel;
mod channel_error;
mod error;
mod message;
mod round;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hookbox_driver::OpenError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Options;
use crate::background::Background;
use crate::nodes::Nodes;
pub use error::ExchangeError;
pub use message::{ExchangeMessage, HeaderValue};
use task::{Request, Task};

/// A publisher to one exchange. It connects when the first message is published, and connects again
/// after the connection was lost. Dropping it closes the connection without waiting.
pub struct ExchangePublisher {
    requests: mpsc::Sender<Request>,
    options: Arc<Options>,
    name: String,
    stop: CancellationToken,
    tasks: TaskTracker,
    // The runtime is the last field, so that it is dropped after `stop` was cancelled.
    _runtime: Background,
}

impl ExchangePublisher {
    /// Creates a publisher without connecting. It uses only the options for the connection, for the
    /// publish rounds, and for the number of messages in flight.
    ///
    /// # Errors
    /// When the URL is invalid, or the threads cannot be started.
    pub fn new(options: Options, exchange: impl Into<String>) -> Result<Self, OpenError> {
        let (nodes, exchange) = (Nodes::of(&options)?, exchange.into());
        let name = address::name(nodes.first()?, &exchange);
        let runtime = Background::start("hookbox-exchange")?;
        let (requests, receiver) = mpsc::channel(options.in_flight_max.max(1));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let options = Arc::new(options);
        let task = Task {
            options: Arc::clone(&options),
            nodes,
            exchange,
            requests: receiver,
            stop: stop.clone(),
        };
        tasks.spawn_on(task.run(), &runtime.handle());
        tasks.close();
        Ok(Self {
            requests,
            options,
            name,
            stop,
            tasks,
            _runtime: runtime,
        })
    }

    /// Returns the name of the exchange together with that of its broker. The name is shown to
    /// operators, and it names the target whose limits apply. It contains no user or password.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the longest time that [`ExchangePublisher::publish`] takes. It includes the time to
    /// connect, and the time for two publish rounds: the message first waits for the end of the
    /// publish round that is under way, and is then published in the next one. Each of them may
    /// take twice the deadline of a confirm, because its messages may be published once more.
    pub fn deadline(&self) -> Duration {
        self.options.connect_deadline + 4 * self.options.confirm_deadline
    }

    /// Publishes a message, and waits for the broker's confirm. When the returned future is
    /// dropped, the message may be published all the same.
    ///
    /// # Errors
    /// When the broker has not confirmed the message. After [`ExchangeError::Late`],
    /// [`ExchangeError::TooLong`] and [`ExchangeError::Closed`], the message was not published.
    /// After every other error, it may have been published all the same.
    pub async fn publish(&self, message: ExchangeMessage) -> Result<(), ExchangeError> {
        let is_decided = Arc::new(AtomicBool::new(false));
        let ask = async {
            let (answer, answered) = oneshot::channel();
            let request = Request {
                message,
                answer,
                is_decided: Arc::clone(&is_decided),
            };
            let sent = self.requests.send(request).await;
            sent.map_err(|_| ExchangeError::Closed)?;
            let unanswered = |_| give_up(&is_decided, ExchangeError::Closed);
            answered.await.map_err(unanswered)?
        };
        match timeout(self.deadline(), ask).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(give_up(&is_decided, ExchangeError::Late)),
        }
    }

    /// Ends the publisher: waits until the messages of the current publish round have their
    /// results, and closes the connection. Messages that wait for a later publish round are not
    /// published.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

/// Gives up a message, and returns the error for its caller. If the task has not begun to publish
/// the message, it never will, and the error is `not_published`. Otherwise the error is
/// [`ExchangeError::Unknown`].
fn give_up(is_decided: &AtomicBool, not_published: ExchangeError) -> ExchangeError {
    if is_decided.swap(true, Ordering::AcqRel) {
        ExchangeError::Unknown
    } else {
        not_published
    }
}

impl Drop for ExchangePublisher {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests;
