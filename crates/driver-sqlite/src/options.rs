//! How to open the file: its path, its environment, and every time limit with its reason.

use std::path::PathBuf;
use std::time::Duration;

use hookbox_driver::OpenError;
use hookbox_event::{EnvironmentName, RouteName};

/// Shorter than any provider's patience, so that our 503 comes before their time-out.
const PUBLISH_DEADLINE: Duration = Duration::from_millis(2_500);

/// How long SQLite waits for another process's write lock. Long enough for any transaction that
/// is not stuck.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait in this process's own queue for the writer. It is fair, so this only ends for
/// those behind a handler that runs to its time limit.
const WRITER_WAIT: Duration = Duration::from_secs(30);

/// How long after the death of a process its messages are redelivered. It is renewed at a third.
const LEASE: Duration = Duration::from_secs(15);

/// How long another process's publish may go unnoticed while idle. A poll costs microseconds.
const POLL: Duration = Duration::from_millis(50);

/// After so many unsettled deliveries a message goes to the dead-letter queue: the same bound as at
/// RabbitMQ, far over what restarts can cause.
const DELIVERIES_MAX: u32 = 1_000;

/// Connections for reading: one for the polls of subscriptions and a few for the console.
const READERS: u32 = 4;

/// The shortest lease: below, a slow disk's fsync would cost messages their lease.
const LEASE_MIN: Duration = Duration::from_millis(100);

/// What [`crate::Sqlite::open`] and [`crate::migrate`] need to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file. Its `-wal` and `-shm` lie beside it, so its folder must be writable.
    pub path: PathBuf,
    /// The environment the file belongs to.
    pub environment: EnvironmentName,
    /// The routes whose queues can be published to and subscribed.
    pub routes: Vec<RouteName>,
    /// How long a publish may take before it returns `TimedOut`.
    pub publish_deadline: Duration,
    /// How long to wait for the write lock of another process before it is contention.
    pub busy_timeout: Duration,
    /// How long to wait for this process's own writer before it is contention.
    pub writer_wait: Duration,
    /// How long a taken message stays taken without being renewed.
    pub lease: Duration,
    /// How often to poll for what other processes wrote, while there are subscriptions.
    pub poll: Duration,
    /// How many connections may read at once.
    pub readers: u32,
    /// How many bytes the file may hold before publishes are refused; without a bound, the disk
    /// is the bound. Deleted messages make room again.
    pub bytes_max: Option<u64>,
    /// Whether the caller keeps every other process off the file, as the lock of a spool does.
    /// What it holds is then handed out to the end, also when its path no longer leads to it: no
    /// other process can do so, and none can be using its log.
    pub exclusive: bool,
    /// How often a message is delivered before it goes to the dead-letter queue; without a bound,
    /// for ever.
    pub deliveries_max: Option<u32>,
}

impl Options {
    /// The defaults, for one file.
    pub fn new(
        path: impl Into<PathBuf>,
        environment: EnvironmentName,
        routes: Vec<RouteName>,
    ) -> Self {
        Self {
            path: path.into(),
            environment,
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

    /// The defaults, for a URL: `sqlite:relative.db`, `sqlite:/absolute.db`, or either with `//`
    /// after the colon. The path is taken as it is written, without percent-decoding.
    pub fn from_url(
        url: &str,
        environment: EnvironmentName,
        routes: Vec<RouteName>,
    ) -> Result<Self, OpenError> {
        let path = url
            .strip_prefix("sqlite:")
            .ok_or_else(|| unusable("the URL must begin with `sqlite:`"))?;
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.contains(['?', '#']) {
            return Err(unusable(
                "the URL must be `sqlite:` and a path; it takes no parameters",
            ));
        }
        let options = Self::new(path, environment, routes);
        options.check()?;
        Ok(options)
    }

    /// What would break a promise is refused before anything is opened.
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

    fn of(url: &str) -> Result<Options, OpenError> {
        Options::from_url(url, "test".parse().unwrap(), Vec::new())
    }

    #[test]
    fn urls() {
        for (url, path) in [
            ("sqlite:hookbox.db", "hookbox.db"),
            ("sqlite://hookbox.db", "hookbox.db"),
            ("sqlite:/var/lib/hookbox.db", "/var/lib/hookbox.db"),
            ("sqlite:///var/lib/hookbox.db", "/var/lib/hookbox.db"),
        ] {
            assert_eq!(of(url).unwrap().path, PathBuf::from(path), "{url}");
        }
        for url in [
            "",
            "hookbox.db",
            "postgres://host/db",
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "sqlite:a.db?mode=ro",
        ] {
            assert!(
                matches!(of(url), Err(OpenError::Options { .. })),
                "{url:?} was taken"
            );
        }
    }
}
