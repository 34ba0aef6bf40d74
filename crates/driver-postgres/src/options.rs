//! How to reach the database, and every limit with its reason.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hookbox_driver::{OpenError, is_loopback};
use hookbox_event::EnvironmentName;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::server::Server;
use crate::session::Session;

/// The handler time limit that [`Options::new`] assumes.
const HANDLER_TIME_LIMIT: Duration = Duration::from_secs(30);

/// How much later than the engine's own time limit the server ends a statement or an idle
/// transaction: the engine acts first, the server is the safety net.
const AFTER_HANDLER: Duration = Duration::from_secs(5);

/// How many connections. PostgreSQL allows 100 by default, several processes share it, and a worker
/// needs one for each transaction that runs at once.
const CONNECTIONS_MAX: u32 = 16;

/// How long to wait for one of them: longer means that the worker should pause.
const ACQUIRE_DEADLINE: Duration = Duration::from_secs(3);

/// How long a new connection may take, TLS and password included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// How long to wait for another transaction's lock at most, before it is contention. A worker that
/// died without closing its connection is detected by the server sooner (see `CLIENT_CHECK`). An
/// event that waits for a foreign lock delays its route for so long before it is deferred.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection is kept at most. It bounds how long a pooler that is to be stopped waits
/// for us; a worker's sixteen connections then cost a new one every four seconds, of some
/// milliseconds.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

/// How often the server checks whether the client of a running statement is still connected.
const CLIENT_CHECK: Duration = Duration::from_secs(2);

/// The longest transaction: one batch of 64 events whose handlers each take their full time.
const HANDLERS_IN_A_TRANSACTION: u32 = 64;

/// How much longer than the server's own limits the client waits for an answer before it takes
/// the connection for dead.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);

/// How to reach the database. `Debug` does not show the URL's password.
#[derive(Clone)]
pub struct Options {
    /// `postgres://user:password@host:port/database`; `?sslmode=verify-full` for TLS that is
    /// checked, `?host=/run/postgresql` for a socket.
    pub url: String,
    /// The environment that the database is stamped with.
    pub environment: EnvironmentName,
    /// Most connections at once, besides one that only checks whether the server is reachable.
    pub connections_max: u32,
    /// How long to wait for a free one.
    pub acquire_deadline: Duration,
    /// How long a new connection may take to be ready.
    pub connect_deadline: Duration,
    /// How long a connection is kept at most, whether it is used or not. A transaction on it is
    /// not cut off.
    pub connection_lifetime: Duration,
    /// The server ends a statement after this.
    pub statement_timeout: Duration,
    /// The server ends a session whose transaction waits for us for so long.
    pub idle_in_transaction: Duration,
    /// The server ends a transaction after this (PostgreSQL 17 and later).
    pub transaction_timeout: Duration,
    /// The server gives up waiting for a lock after this.
    pub lock_timeout: Duration,
    /// How often the server checks whether we are still connected while it works for us.
    pub client_check: Duration,
    /// How long the client waits for the answer to one of hookbox's own statements in a unit of
    /// work. Longer than `lock_timeout`, so that the server answers first.
    pub answer_deadline: Duration,
    /// The name of the sessions in `pg_stat_activity`.
    pub application_name: String,
}

impl Options {
    /// The defaults, for one database and handlers of at most 30 seconds.
    pub fn new(url: impl Into<String>, environment: EnvironmentName) -> Self {
        Self {
            url: url.into(),
            environment,
            connections_max: CONNECTIONS_MAX,
            acquire_deadline: ACQUIRE_DEADLINE,
            connect_deadline: CONNECT_DEADLINE,
            connection_lifetime: CONNECTION_LIFETIME,
            statement_timeout: Duration::ZERO,
            idle_in_transaction: Duration::ZERO,
            transaction_timeout: Duration::ZERO,
            lock_timeout: LOCK_TIMEOUT,
            client_check: CLIENT_CHECK,
            answer_deadline: LOCK_TIMEOUT + ANSWER_MARGIN,
            application_name: "hookbox".to_owned(),
        }
        .handler_time_limit(HANDLER_TIME_LIMIT)
    }

    /// Sets what follows from the time limit of the handlers, where all have the same.
    #[must_use]
    pub fn handler_time_limit(self, limit: Duration) -> Self {
        self.handler_time_limits(limit, limit)
    }

    /// Sets what follows from the shortest and the longest time limit of any route's handler.
    ///
    /// A handler that waits for a lock must get the server's timeout before its own time limit
    /// ends: a lock wait costs no attempt, the handler's own timeout does. Half of its time is for
    /// its work.
    #[must_use]
    pub fn handler_time_limits(mut self, least: Duration, most: Duration) -> Self {
        if !least.is_zero() {
            self.lock_timeout = LOCK_TIMEOUT.min(least / 2);
        }
        let after = most.saturating_add(AFTER_HANDLER);
        self.statement_timeout = after;
        self.idle_in_transaction = after;
        self.transaction_timeout = after.saturating_mul(HANDLERS_IN_A_TRANSACTION);
        self
    }

    /// How long the client waits for a statement that may take its full `statement_timeout`.
    pub(crate) fn report_deadline(&self) -> Duration {
        self.statement_timeout.saturating_add(ANSWER_MARGIN)
    }

    /// Whether no third party can read or answer: the server is on this machine, or every
    /// connection is encrypted and verifies its certificate and its name. Reads the URL as every
    /// connection does, without one: what is refused here is refused at a start.
    pub fn is_protected(&self) -> Result<bool, OpenError> {
        self.plain()?;
        let options = PgConnectOptions::from_str(&self.url);
        Ok(options.is_ok_and(|options| {
            let is_socket = options.get_socket().is_some() || options.get_host().starts_with('/');
            let is_verified = match options.get_ssl_mode() {
                PgSslMode::VerifyFull => true,
                PgSslMode::Disable
                | PgSslMode::Allow
                | PgSslMode::Prefer
                | PgSslMode::Require
                | PgSslMode::VerifyCa => false,
            };
            is_socket || is_verified || is_loopback(options.get_host())
        }))
    }

    /// The URL, read, and nothing else set.
    pub(crate) fn plain(&self) -> Result<Session, OpenError> {
        let refuse = |why: &str| OpenError::Options {
            what: "the database",
            why: why.to_owned(),
        };
        if !self.url.starts_with("postgres://") && !self.url.starts_with("postgresql://") {
            return Err(refuse("the URL must start with postgres://"));
        }
        if self.connections_max == 0 {
            return Err(refuse("connections_max must be at least 1"));
        }
        // The parser's own words are left out: they may quote the URL.
        let options = PgConnectOptions::from_str(&self.url)
            .map_err(|_| refuse("the URL or one of its parameters cannot be read"))?;
        let options = options.application_name(&self.application_name);
        Ok(Session::plain(options))
    }

    /// The role of the sessions, as far as the URL names it; else as the server reports it.
    pub(crate) fn role(&self) -> String {
        let options = PgConnectOptions::from_str(&self.url);
        options.map_or_else(
            |_| "current_user".to_owned(),
            |options| options.get_username().to_owned(),
        )
    }

    /// What every session of the store starts with.
    pub(crate) fn session(&self, server: &Server) -> Result<Session, OpenError> {
        let mut settings = vec![
            ("synchronous_commit", server.synchronous_commit().to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
            // A plan that is kept was made when the tables were small: it reads them from end to
            // end, until the server happens to analyse them. To plan takes microseconds.
            ("plan_cache_mode", "force_custom_plan".to_owned()),
            ("statement_timeout", millis(self.statement_timeout)),
            ("lock_timeout", millis(self.lock_timeout)),
            (
                "idle_in_transaction_session_timeout",
                millis(self.idle_in_transaction),
            ),
        ];
        if server.checks_clients {
            let check = millis(self.client_check);
            settings.push(("client_connection_check_interval", check));
        }
        if server.limits_transactions {
            let limit = millis(self.transaction_timeout);
            settings.push(("transaction_timeout", limit));
        }
        Ok(self.plain()?.with(&settings))
    }
}

/// Milliseconds as the server reads them. Never 0, which would mean "no limit".
fn millis(limit: Duration) -> String {
    limit.as_millis().clamp(1, i32::MAX as u128).to_string()
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("url", &"(hidden)")
            .field("environment", &self.environment)
            .field("connections_max", &self.connections_max)
            .field("statement_timeout", &self.statement_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn options(url: &str) -> Options {
        Options::new(url, "test".parse().unwrap())
    }

    #[test]
    fn debug_and_errors_hide_the_password() {
        let url = "postgres://user:canary-password@host:99999999/db";
        let shown = format!("{:?}", options(url));
        let refused = options(url).plain().err().unwrap();
        for text in [shown, format!("{refused:?}"), refused.to_string()] {
            assert!(!text.contains("canary"), "{text}");
        }
    }

    #[test]
    fn limits_follow_the_handlers() {
        let options = options("postgres://host/db").handler_time_limit(Duration::from_secs(60));
        assert_eq!(options.statement_timeout, Duration::from_secs(65));
        assert_eq!(options.idle_in_transaction, Duration::from_secs(65));
        assert_eq!(options.lock_timeout, Duration::from_secs(5));
        assert!(options.answer_deadline > options.lock_timeout);
    }

    #[test]
    fn a_lock_is_given_up_before_any_handler_is_out_of_time() {
        for (least, expect) in [(30_000, 5_000), (5_000, 2_500), (200, 100), (1, 1)] {
            let options = options("postgres://host/db")
                .handler_time_limits(Duration::from_millis(least), Duration::from_secs(60));
            assert_eq!(millis(options.lock_timeout), expect.to_string());
            assert_eq!(options.statement_timeout, Duration::from_secs(65));
        }
    }

    #[test]
    fn a_connection_off_this_machine_is_protected_only_by_a_verified_server() {
        for (url, expect) in [
            ("postgres://u:p@localhost/db", true),
            ("postgres://u:p@127.0.0.1:5433/db", true),
            ("postgres://u:p@[::1]/db", true),
            ("postgres:///db?host=/run/postgresql", true),
            ("postgres://u:p@%2Frun%2Fpostgresql/db", true),
            ("postgres://u:p@db.internal/db", false),
            ("postgres://u:p@10.0.0.5/db?sslmode=disable", false),
            ("postgres://u:p@db/db?sslmode=require", false),
            ("postgres://u:p@db/db?sslmode=verify-ca", false),
            ("postgres://u:p@db/db?sslmode=verify-full", true),
            ("postgres://u:p@localhost/db?host=db.internal", false),
        ] {
            assert_eq!(options(url).is_protected().unwrap(), expect, "{url}");
        }
        assert!(options("mysql://host/db").is_protected().is_err());
    }

    #[test]
    fn other_schemes_are_refused() {
        let refused = options("mysql://host/db")
            .plain()
            .err()
            .unwrap()
            .to_string();
        assert!(refused.contains("postgres://"), "{refused}");
    }
}
