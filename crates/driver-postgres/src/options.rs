//! The options for reaching the database, and every limit with its reason.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hookbox_driver::{ExpectedIdentity, OpenError, is_loopback};
use hookbox_event::EnvironmentName;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::server::properties::Server;
use crate::server::session::Session;

/// The time limit of one handler run that [`Options::new`] assumes.
const HANDLER_TIME_LIMIT: Duration = Duration::from_secs(30);

/// By how much the server's limits for a statement and for an idle transaction exceed the time
/// limit of a handler. Normally the engine ends a handler at its time limit. The server's limits
/// take effect only if the engine has failed to do that.
const AFTER_HANDLER: Duration = Duration::from_secs(5);

/// How long to wait for a free connection of this process. If none becomes free in this time, the
/// work that waits for it pauses.
const ACQUIRE_DEADLINE: Duration = Duration::from_secs(3);

/// How long a new connection may take, including TLS and the password check.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// How long a statement waits for another transaction's lock before it fails as contention. If a
/// worker died without closing its connection, the server notices that sooner (see `CLIENT_CHECK`)
/// and releases its locks. An event that waits for a lock of another program delays its route for
/// this long before it is deferred.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the server checks, while a statement runs, whether the client that sent it is still
/// connected.
const CLIENT_CHECK: Duration = Duration::from_secs(2);

/// The time after which the server ends a migration whose client sends no statement. Between two
/// statements the client needs a few seconds at most.
const MIGRATION_IDLE: Duration = Duration::from_secs(60);

/// How long the connection of a migration may be silent before the server checks that it still
/// exists. It is shorter than the time after which common routers forget a connection.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The number of handlers that run in the longest transaction: one for each event of a batch of 64
/// events. Each may take its full time limit.
const HANDLERS_IN_A_TRANSACTION: u32 = 64;

/// How long the server may use the plans of a connection's statements. A plan may date from when a
/// table was small, and then reads the whole table although it has grown. With this limit, such a
/// plan does little harm.
const PLAN_LIFETIME: Duration = Duration::from_secs(5);

/// How much longer than the server's own limits the client waits for an answer before it treats the
/// connection as dead.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);

/// The options for reaching the database. `Debug` does not show the URL, because it may contain a
/// password.
#[derive(Clone)]
pub struct Options {
    /// The URL: `postgres://user:password@host:port/database`, with `?sslmode=verify-full` for TLS
    /// with a verified certificate, or `?host=/run/postgresql` for a socket.
    pub url: String,
    /// The environment with which the database is stamped.
    pub environment: EnvironmentName,
    /// Which identity stamp the database must have. By default it must have none, because by
    /// default ids are computed without an identity key.
    pub identity: ExpectedIdentity,
    /// How many connections may be open at once. One more connection only checks whether the server
    /// is reachable.
    pub connections_max: u32,
    /// How long to wait for a free connection.
    pub acquire_deadline: Duration,
    /// How long a new connection may take to be ready.
    pub connect_deadline: Duration,
    /// How long a connection is kept, whether it is used or not. If a transaction is open on the
    /// connection then, it is completed first.
    pub connection_lifetime: Duration,
    /// How long the server may use the plans of a connection's statements before it plans them
    /// anew. A transaction that is open then keeps its plans. Only transactions of attempts, and
    /// those that record how external calls ended, use plans more than once.
    pub plan_lifetime: Duration,
    /// The time after which the server cancels a statement.
    pub statement_timeout: Duration,
    /// The time after which the server ends a session whose open transaction is idle.
    pub idle_in_transaction: Duration,
    /// The time after which the server ends a transaction (PostgreSQL 17 and later).
    pub transaction_timeout: Duration,
    /// The time after which the server stops waiting for a lock.
    pub lock_timeout: Duration,
    /// How often the server checks whether the client is still connected while a statement runs.
    pub client_check: Duration,
    /// How long the client waits for the answer to one of hookbox's own statements in a
    /// transaction. It is longer than `lock_timeout`, so that the server answers first.
    pub answer_deadline: Duration,
    /// The name under which hookbox's sessions are listed in `pg_stat_activity`.
    pub application_name: String,
}

impl Options {
    /// The default for how many connections may be open at once. A worker needs one connection for
    /// each concurrent transaction. PostgreSQL allows 100 connections by default, and several
    /// processes share them.
    pub const CONNECTIONS_MAX: u32 = 16;

    /// How long a connection is kept by default. When a connection pooler is to be stopped, it
    /// waits for hookbox's connections for at most this long. A worker with sixteen connections
    /// then opens a new one every four seconds, which takes a few milliseconds.
    pub const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

    /// Returns the default options for one database and handlers of at most 30 seconds.
    pub fn new(url: impl Into<String>, environment: EnvironmentName) -> Self {
        Self {
            url: url.into(),
            environment,
            identity: ExpectedIdentity::Plain,
            connections_max: Self::CONNECTIONS_MAX,
            acquire_deadline: ACQUIRE_DEADLINE,
            connect_deadline: CONNECT_DEADLINE,
            connection_lifetime: Self::CONNECTION_LIFETIME,
            plan_lifetime: PLAN_LIFETIME,
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

    /// Sets the limits that depend on the time limit of the handlers, when all handlers have the
    /// same.
    #[must_use]
    pub fn handler_time_limit(self, limit: Duration) -> Self {
        self.handler_time_limits(limit, limit)
    }

    /// Sets the limits that depend on the time limits of handlers: `least` and `most` are the
    /// shortest and the longest time limit of any route's handler.
    ///
    /// A handler that waits for a lock must get the server's lock timeout before its own time limit
    /// ends, because a lock timeout costs no attempt, and exceeding the handler's time limit costs
    /// one. A statement that writes a locked row may wait twice for the full lock timeout: first
    /// for its place behind another waiting session, and then for the transaction that holds the
    /// row (PostgreSQL, README.tuplock). The lock timeout is therefore at most a third of the
    /// handler's time limit: two waits take two thirds of it, and the rest is left for its work.
    #[must_use]
    pub fn handler_time_limits(mut self, least: Duration, most: Duration) -> Self {
        if !least.is_zero() {
            self.lock_timeout = LOCK_TIMEOUT.min(least / 3);
        }
        let after = most.saturating_add(AFTER_HANDLER);
        self.statement_timeout = after;
        self.idle_in_transaction = after;
        self.transaction_timeout = after.saturating_mul(HANDLERS_IN_A_TRANSACTION);
        self
    }

    /// Returns how long the client waits for a statement that may take its full
    /// `statement_timeout`.
    pub(crate) fn report_deadline(&self) -> Duration {
        self.statement_timeout.saturating_add(ANSWER_MARGIN)
    }

    /// Returns whether no third party can read or forge the traffic: the server is on this machine,
    /// or every connection is encrypted and verifies the server's certificate and name. It parses
    /// the URL as opening a connection does, but does not connect. An invalid URL is an error, so
    /// it is refused when the process starts.
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

    /// Returns the session for the URL without any of hookbox's settings.
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
        // The parser's own text is left out, because it may quote the URL.
        let options = PgConnectOptions::from_str(&self.url)
            .map_err(|_| refuse("the URL or one of its parameters cannot be read"))?;
        let options = options.application_name(&self.application_name);
        Ok(Session::plain(options))
    }

    /// Returns the database role that the URL names; `current_user` when the URL cannot be parsed.
    pub(crate) fn role(&self) -> String {
        let options = PgConnectOptions::from_str(&self.url);
        options.map_or_else(
            |_| "current_user".to_owned(),
            |options| options.get_username().to_owned(),
        )
    }

    /// Returns the session for the URL with the settings that every session of the store gets when
    /// it starts.
    pub(crate) fn session(&self, server: &Server) -> Result<Session, OpenError> {
        let mut settings = vec![
            ("synchronous_commit", server.synchronous_commit().to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
            // The statements for lists have optional conditions (`$1 is null or ...`), and the plan
            // for such a statement depends on which conditions are given. So the server plans each
            // statement anew, with the exceptions of `session::keep_plans`.
            ("plan_cache_mode", "force_custom_plan".to_owned()),
            // The database driver logs every notice and warning. One that a trigger of the user
            // raises may contain data that must not be in a log, so the server sends none.
            ("client_min_messages", "error".to_owned()),
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
        let session = self.plain()?.with(&settings);
        Ok(session.in_schema(server.schema.as_deref()))
    }

    /// Returns the session for a migration. Its statements have no time limit, because they take as
    /// long as the tables are large. The server ends the session soon after its client has gone, so
    /// that the next migration need not wait for the locks of this one.
    pub(crate) fn session_to_migrate(&self, server: &Server) -> Result<Session, OpenError> {
        let mut settings = vec![
            ("synchronous_commit", "on".to_owned()),
            ("statement_timeout", "0".to_owned()),
            ("lock_timeout", "0".to_owned()),
            (
                "idle_in_transaction_session_timeout",
                millis(MIGRATION_IDLE),
            ),
            // `CREATE TABLE IF NOT EXISTS` sends a notice whenever the table exists. With this
            // setting, the server sends only warnings and errors to the client.
            ("client_min_messages", "warning".to_owned()),
            // A connection on which nothing is sent for minutes is dropped by many networks, so the
            // server has to send something while a statement runs.
            ("tcp_keepalives_idle", KEEPALIVE.as_secs().to_string()),
        ];
        if server.checks_clients {
            let check = millis(self.client_check);
            settings.push(("client_connection_check_interval", check));
        }
        if server.limits_transactions {
            settings.push(("transaction_timeout", "0".to_owned()));
        }
        let session = self.plain()?.with(&settings);
        Ok(session.in_schema(server.schema.as_deref()))
    }
}

/// Formats a limit as milliseconds for the server. The result is never 0, which would mean "no
/// limit".
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
        for (least, expect) in [(30_000, 5_000), (5_000, 1_666), (300, 100), (1, 1)] {
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
