//! The connections to a target that wait for their next request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::connection::Connection;

/// How long a connection waits for its next request. It is shorter than the 5 seconds after which
/// many servers close an idle connection (Node.js and uvicorn by default), so that few requests
/// meet a connection that is being closed.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// The age up to which a connection is used again. An older connection is replaced by a new one, so
/// that a changed address of the target takes effect even if calls never pause.
const AGE_MAX: Duration = Duration::from_secs(60);

/// The most connections that wait: as many as calls may be in flight to one target.
const IDLE_COUNT_MAX: usize = 256;

/// The connections to a target that wait for their next request. Nothing polls them meanwhile.
#[derive(Default)]
pub(crate) struct Pool {
    waiting: Arc<Waiting>,
    /// The task that closes connections that have waited for too long, also when no more calls are
    /// made. Otherwise, a socket whose service has closed it would be kept until the next call. The
    /// task starts with the first connection that waits, and is aborted when the pool is dropped.
    closer: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Waiting {
    idle: Mutex<Vec<Idle>>,
    /// Notified whenever a connection was added.
    added: Notify,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// Takes the most recently used connection that can still be used, and closes those that have
    /// waited for too long.
    pub async fn take(&self, now: Instant) -> Option<Connection> {
        loop {
            let mut connection = self.waiting.pop(now)?;
            if connection.is_alive().await {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request.
    pub fn put(&self, connection: Connection, now: Instant) {
        self.waiting.push(connection, now);
        let mut closer = self.closer.lock().unwrap_or_else(PoisonError::into_inner);
        // The task never ends by itself, but a runtime that shuts down ends it. Then the runtime of
        // this call runs another one.
        while closer.try_join_next().is_some() {}
        if closer.is_empty() {
            closer.spawn(close_expired(Arc::clone(&self.waiting)));
        }
    }
}

/// Closes each connection when it has waited for too long.
async fn close_expired(waiting: Arc<Waiting>) {
    loop {
        match waiting.close_expired(Instant::now()) {
            Some(next) => sleep_until(next).await,
            None => waiting.added.notified().await,
        }
    }
}

impl Waiting {
    fn push(&self, connection: Connection, now: Instant) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_COUNT_MAX {
            let since = now;
            idle.push(Idle { connection, since });
        }
        drop(idle);
        self.added.notify_one();
    }

    fn pop(&self, now: Instant) -> Option<Connection> {
        self.close_expired(now);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop().map(|it| it.connection)
    }

    /// Closes the connections that have waited for too long. Returns when the next one will have.
    fn close_expired(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|it| now < it.expires());
        idle.iter().map(Idle::expires).min()
    }
}

impl Idle {
    fn expires(&self) -> Instant {
        (self.since + IDLE_MAX).min(self.connection.opened + AGE_MAX)
    }
}
