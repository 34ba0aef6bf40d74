//! The options for opening the file: its path, its environment, and every time limit with its
//! reason.

use std::path::PathBuf;
use std::time::Duration;

use hookbox_driver::{ExpectedIdentity, OpenError};
use hookbox_event::{EnvironmentName, RouteName};

/// The default time limit of a publish. It is shorter than any provider's time-out, so that the
/// provider gets the answer 503 from hookbox instead of a time-out.
const PUBLISH_DEADLINE: Duration = Duration::from_millis(2_500);

/// The default time for which SQLite waits while another process holds the write lock. It is long
/// enough for any transaction that is not stuck.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The default time for which a caller waits in this process's queue for the one writing
/// connection. Publishes, deliveries, workers and operators take turns, so a caller waits this long
/// only behind a handler that runs until its time limit.
const WRITER_WAIT: Duration = Duration::from_secs(30);

/// The default length of a lease: how long after the death of a process its messages are
/// redelivered. A living process renews a lease after a third of this time.
const LEASE: Duration = Duration::from_secs(15);

/// The default interval of polls for writes of other processes. An idle subscription notices a
/// publish of another process at the latest after this time. A poll costs microseconds.
const POLL: Duration = Duration::from_millis(50);

/// The default number of unsettled deliveries after which a message moves to the dead-letter queue.
/// RabbitMQ has the same limit. Restarts alone never cause as many deliveries.
const DELIVERIES_MAX: u32 = 1_000;

/// The default number of connections for reading: one for the polls of subscriptions, the others
/// for operators.
const READERS: u32 = 4;

/// The shortest lease that is allowed. With a shorter one, leases would end while a slow disk
/// syncs.
const LEASE_MIN: Duration = Duration::from_millis(100);

/// The options of [`crate::Sqlite::open`] and [`crate::migrate`].
#[derive(Debug, Clone)]
pub struct Options {
    /// The path of the file. Its `-wal` and `-shm` files lie beside it, so the folder must be
    /// writable.
    pub path: PathBuf,
    /// The environment to which the file belongs.
    pub environment: EnvironmentName,
    /// Which identity stamp the file must have. By default it must have none, because by default
    /// ids are computed without an identity key.
    pub identity: ExpectedIdentity,
    /// The routes whose queues can be published to and subscribed to.
    pub routes: Vec<RouteName>,
    /// How long a publish may take before it returns `TimedOut`.
    pub publish_deadline: Duration,
    /// How long to wait while another process holds the write lock, before the call fails with the
    /// fault `Contention`.
    pub busy_timeout: Duration,
    /// How long to wait for this process's one writing connection, before the call fails with the
    /// fault `Contention`.
    pub writer_wait: Duration,
    /// How long a lease lasts: a message that a subscription has taken is redelivered when the
    /// lease has not been renewed for this time.
    pub lease: Duration,
    /// How often to poll for writes of other processes, while there are subscriptions.
    pub poll: Duration,
    /// The number of connections that may read at once.
    pub readers: u32,
    /// The size in bytes at which the file accepts no more publishes; `None` for no limit but the
    /// disk. Space of deleted messages is reused.
    pub bytes_max: Option<u64>,
    /// Whether the caller keeps every other process from using the file, as the lock of a spool
    /// does. Then all messages are delivered even when the path no longer leads to the file. This
    /// is safe because no other process can deliver these messages or use the file's write-ahead
    /// log.
    pub exclusive: bool,
    /// How often a message is delivered before it goes to the dead-letter queue; `None` for no
    /// limit.
    pub deliveries_max: Option<u32>,
}

impl Options {
    /// Returns the default options for one file.
    pub fn new(
        path: impl Into<PathBuf>,
        environment: EnvironmentName,
        routes: Vec<RouteName>,
    ) -> Self {
        Self {
            path: path.into(),
            environment,
            identity: ExpectedIdentity::Plain,
            routes,
            publish_deadline: PUBLISH_DEADLINE,
            busy_timeout: BUSY_TIMEOUT,
            writer_wait: WRITER_WAIT,
            lease: LEASE,
            poll: POLL,
            readers: READERS,
            bytes_max: None,
            exclusive: false,
            deliveries_max: Some(DELIVERIES_MAX),
        }
    }

    /// Returns an error for options with which the driver could not keep its promises. Nothing is
    /// opened before this check.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        if self.path.as_os_str().is_empty() {
            return Err(unusable("the path of the file is empty"));
        }
        if self.path.to_string_lossy().contains(":memory:") {
            return Err(unusable(
                "a database in memory forgets everything at exit; name a file",
            ));
        }
        if self.lease < LEASE_MIN {
            return Err(unusable("the lease must be 100 ms or longer"));
        }
        if self.poll.is_zero() || self.publish_deadline.is_zero() || self.readers == 0 {
            return Err(unusable(
                "poll, publish_deadline and readers must not be zero",
            ));
        }
        Ok(())
    }
}

fn unusable(why: &str) -> OpenError {
    OpenError::Options {
        what: crate::THE_FILE,
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_a_file_is_accepted() {
        let check = |path: &str| Options::new(path, "test".parse().unwrap(), Vec::new()).check();
        for path in ["hookbox.db", "/var/lib/hookbox.db"] {
            assert!(check(path).is_ok(), "{path:?}");
        }
        for path in ["", ":memory:"] {
            assert!(
                matches!(check(path), Err(OpenError::Options { .. })),
                "{path:?} must be refused"
            );
        }
    }
}
