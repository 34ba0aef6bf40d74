//! The connections to a target that wait for their next request.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

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
    idle: Mutex<Vec<Idle>>,
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
            let mut connection = self.pop(now)?;
            if connection.is_alive().await {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request.
    pub fn put(&self, connection: Connection, now: Instant) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_COUNT_MAX {
            let since = now;
            idle.push(Idle { connection, since });
        }
    }

    /// Closes the connections that have waited for too long.
    pub fn close_expired(&self, now: Instant) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|it| {
            let is_fresh = now.saturating_duration_since(it.since) < IDLE_MAX;
            is_fresh && now.saturating_duration_since(it.connection.opened) < AGE_MAX
        });
    }

    fn pop(&self, now: Instant) -> Option<Connection> {
        self.close_expired(now);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop().map(|it| it.connection)
    }
}
