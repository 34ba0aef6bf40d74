//! Opens sessions: connects, then sets hookbox's own settings.
//!
//! The settings are set by a statement and not sent as start-up parameters, because a connection
//! pooler refuses those (PgBouncer: "unsupported startup parameter: options") or drops them.

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{Fault, FaultKind, OpenError};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection, Row};

use crate::connection::{goodbye, within};
use crate::open::{open_error, unavailable};
use crate::refusal::{Names, Stage};

/// The statement that opens a transaction. It names every mode, because a handler may have set
/// other defaults for the session.
const PLAIN_BEGIN: &str = "begin isolation level read committed read write";

/// The statements that revert what a handler can do to its session. They also set the names and
/// values again that the driver sends at the start of a session: a pooler sends those to its server
/// in its own way, so `reset all` may not restore them.
const RESET: &str = "reset session authorization; reset role; reset all; unlisten *; close all; \
     discard temp; select pg_catalog.pg_advisory_unlock_all(); \
     set client_encoding = 'UTF8'; set datestyle = 'ISO, MDY'; set timezone = 'UTC';";

/// The statement that marks a session as belonging to one connection. The server generates the mark
/// and returns it.
const SET_MARK: &str = "select pg_catalog.set_config('hookbox.session', \
     pg_catalog.gen_random_uuid()::text, false)";

/// The mark that distinguishes the session of one connection from all others. A pooler that starts
/// to share sessions between transactions gives this connection the session of another one.
/// Prepared statements there have the same names, so one with the same number of parameters would
/// run in place of the intended one (H15).
pub(crate) struct Mark(String);

impl Mark {
    /// Returns a query that fails with 22P02 in every session without this mark.
    fn check(&self) -> String {
        let mark = &self.0;
        format!(
            "select (case pg_catalog.current_setting('hookbox.session', true) when '{mark}' \
             then '1' else 'this session is of another connection' end)::integer"
        )
    }

    /// Returns the statement that marks the session again, after a reset.
    fn set(&self) -> String {
        format!("set hookbox.session = '{}';", self.0)
    }
}

/// The address of the database, and the settings of a new session.
#[derive(Clone)]
pub(crate) struct Session {
    connect: PgConnectOptions,
    /// Statements, or nothing.
    settings: String,
    names: Arc<Names>,
}

impl Session {
    /// Returns a session without hookbox's settings; the server's own apply.
    pub fn plain(connect: PgConnectOptions) -> Self {
        // Poolers do not know this start-up parameter. It only affects numbers in text form, and
        // hookbox transfers numbers in binary form.
        let connect = connect.extra_float_digits(None);
        let role = connect.get_username().to_owned();
        let database = connect.get_database().unwrap_or(&role).to_owned();
        Self {
            connect,
            settings: String::new(),
            names: Arc::new(Names { role, database }),
        }
    }

    /// Returns the session with these settings. Names and values are constants of hookbox, never
    /// untrusted text.
    pub fn with(mut self, settings: &[(&'static str, String)]) -> Self {
        let set = |(name, value): &(&str, String)| format!("set {name} = '{value}';");
        self.settings = settings.iter().map(set).collect();
        self
    }

    /// Returns the statement that opens a transaction, and fails in every session but the marked
    /// one.
    pub fn begin(&self, begin: &str, mark: &Mark) -> String {
        // The check comes after `begin`, because the isolation level cannot be set after the first
        // query.
        format!("{begin}; {}", mark.check())
    }

    /// Returns the statements that open a transaction in a session that a handler has used. The
    /// reset has its own transaction, so that no rollback restores the handler's settings.
    pub fn begin_anew(&self, begin: &str, mark: &Mark) -> String {
        let (check, reset) = (mark.check(), self.reset(mark));
        format!("{PLAIN_BEGIN}; {check}; {reset} commit; {begin}; {check}")
    }

    /// Returns only the reset, for use inside a transaction.
    pub fn reset(&self, mark: &Mark) -> String {
        let (settings, mark) = (&self.settings, mark.set());
        format!("{RESET}{settings}{mark}")
    }

    /// Returns the names of the role, the database and the schema of these sessions.
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// Opens a connection within a deadline. In a running process, every failure counts as an
    /// unavailable database, because even a wrong password may be corrected.
    pub async fn connect(&self, limit: Duration) -> Result<PgConnection, Fault> {
        let (connection, _) = self.open(self.settings.clone(), limit).await?;
        Ok(connection)
    }

    /// Opens a connection and marks its session.
    pub async fn connect_marked(&self, limit: Duration) -> Result<(PgConnection, Mark), Fault> {
        let statements = format!("{}{SET_MARK}", self.settings);
        let (connection, row) = self.open(statements, limit).await?;
        let mark: Option<String> = row.and_then(|row| row.try_get(0).ok());
        // The mark becomes part of statements, so only a UUID is accepted.
        let is_plain = |mark: &String| mark.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        match mark.filter(is_plain) {
            Some(mark) => Ok((connection, Mark(mark))),
            None => {
                let doing = "mark a session: the server answered with no UUID";
                Err(Fault::plain(FaultKind::Unavailable, doing))
            }
        }
    }

    /// Connects, runs these statements and returns the first row of their results.
    async fn open(
        &self,
        statements: String,
        limit: Duration,
    ) -> Result<(PgConnection, Option<PgRow>), Fault> {
        let doing = "connect to the database";
        let begin = async {
            let mut connection = self.connect.connect().await?;
            let mut row = None;
            if !statements.is_empty() {
                let statements = sqlx::raw_sql(AssertSqlSafe(statements));
                row = connection.fetch_optional(statements).await?;
            }
            Ok((connection, row))
        };
        within(limit, begin)
            .await
            .map_err(|error| error.refused_at(Stage::Connect, &self.names))
            .map_err(|error| Fault::new(FaultKind::Unavailable, doing, error))
    }

    /// Refuses a pooler that gives one session of the server to several connections in turn, for
    /// one transaction each (PgBouncer: `pool_mode = transaction`). Settings, prepared statements
    /// and a migration's lock belong to a session, and would then belong to another client.
    pub async fn is_its_own(&self, limit: Duration) -> Result<(), OpenError> {
        let mut first = self.connect(limit).await.map_err(unavailable)?;
        let shared = match self.connect(limit).await {
            Ok(mut second) => {
                let shared = within(limit, share(&mut first, &mut second)).await;
                goodbye(second).await;
                shared
            }
            Err(fault) => {
                goodbye(first).await;
                return Err(unavailable(fault));
            }
        };
        goodbye(first).await;
        if shared.map_err(|error| open_error(error, Stage::Use, &self.names))? {
            return Err(OpenError::Unsafe {
                what: "the database",
                why: "a connection pooler lends its sessions out for single transactions; set \
                      the pooler's mode to `session`, or point the URL at PostgreSQL itself"
                    .to_owned(),
            });
        }
        Ok(())
    }
}

/// Returns whether one process of the server serves both open connections.
async fn share(first: &mut PgConnection, second: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let before = served_by(first).await?;
    let other = served_by(second).await?;
    // A pooler with other clients may meanwhile have given the first connection's session away.
    let after = served_by(first).await?;
    Ok(before == other || before != after)
}

/// Returns the process id of the server's process. It uses no prepared statement, because a pooler
/// in that mode may break those.
async fn served_by(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let asked = sqlx::raw_sql("select pg_backend_pid()");
    connection.fetch_one(asked).await?.try_get(0)
}
