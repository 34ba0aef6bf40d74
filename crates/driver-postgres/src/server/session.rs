//! Opens sessions: connects to the server, and then sets hookbox's own settings.
//!
//! A statement sets the settings after the connection is open. They are not sent as start-up
//! parameters, because a connection pooler refuses those (PgBouncer: "unsupported startup
//! parameter: options") or drops them.

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{Fault, FaultKind, OpenError};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection, Row};

use crate::refused::{open_error, unavailable};
use crate::server::refusal::{Names, Stage};
use crate::server::time_limit::{goodbye, within};

/// The statement that opens a transaction for writing. It sets the isolation level and the access
/// mode itself, because a handler may have changed the session's defaults.
macro_rules! begin_to_write {
    () => {
        "begin isolation level read committed read write"
    };
}
pub(crate) use begin_to_write;

/// The statements that revert what a handler may have changed in its session. They also set the
/// parameters again that the database driver sends when it connects. A connection pooler passes
/// those parameters to the server in its own way, so `reset all` may not restore them.
const RESET: &str = "reset session authorization; reset role; reset all; unlisten *; close all; \
     discard temp; select pg_catalog.pg_advisory_unlock_all(); \
     set client_encoding = 'UTF8'; set datestyle = 'ISO, MDY'; set timezone = 'UTC';";

/// The statement that marks a session as belonging to one connection. The server generates the mark
/// and returns it.
const SET_MARK: &str = "select pg_catalog.set_config('hookbox.session', \
     pg_catalog.gen_random_uuid()::text, false)";

/// Makes the server keep the plans of the statements in the transactions of attempts, and in those
/// that record how external calls ended. At a low load such transactions are small, and planning
/// their statements anew takes 40 % of the time of the statements. hookbox's own statements there
/// have no optional conditions, and `auto` is PostgreSQL's default, so it suits the statements of
/// users as well.
macro_rules! keep_plans {
    () => {
        "set local plan_cache_mode = 'auto'"
    };
}
pub(crate) use keep_plans;

/// What is added to the statements that open a transaction, so that the server forgets the plans of
/// the session and makes them anew. It comes last, because the isolation level cannot be set after
/// it.
pub(crate) const DISCARD_PLANS: &str = "; discard plans";

/// A random mark that distinguishes the session of one connection from all others. A connection
/// pooler that starts to share sessions between transactions may give this connection a session
/// that was marked for another connection. Prepared statements in that session have the same names
/// as this connection's, so one with the same number of parameters would run in place of the
/// intended one (H15).
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

/// The address of the database, and the settings that a new session gets.
#[derive(Clone)]
pub(crate) struct Session {
    connect: PgConnectOptions,
    /// The statements that set hookbox's settings; empty for a plain session.
    settings: String,
    names: Arc<Names>,
}

impl Session {
    /// Returns a session without hookbox's settings; the server's defaults apply.
    pub fn plain(connect: PgConnectOptions) -> Self {
        // The driver would send `extra_float_digits` when it connects, and poolers refuse start-up
        // parameters that they do not know. hookbox does not need this one: it affects only numbers
        // that are transferred as text, and hookbox transfers numbers in binary form.
        // Statements are not logged, because a handler's statement may contain data that must not
        // be in a log.
        let connect = connect.extra_float_digits(None).disable_statement_logging();
        let role = connect.get_username().to_owned();
        let database = connect.get_database().unwrap_or(&role).to_owned();
        Self {
            connect,
            settings: String::new(),
            names: Arc::new(Names {
                role,
                database,
                schema: None,
            }),
        }
    }

    /// Returns this session with the given settings, which hookbox sets when it has connected.
    /// Names and values are constants of hookbox, never untrusted text.
    pub fn with(mut self, settings: &[(&'static str, String)]) -> Self {
        let set = |(name, value): &(&str, String)| format!("set {name} = '{value}';");
        self.settings = settings.iter().map(set).collect();
        self
    }

    /// Returns this session with the schema of hookbox's tables, for the remedies in errors.
    pub fn in_schema(mut self, schema: Option<&str>) -> Self {
        let names = Names {
            schema: schema.map(str::to_owned),
            ..Names::clone(&self.names)
        };
        self.names = Arc::new(names);
        self
    }

    /// Returns the statements that open a transaction. They fail in every session that does not
    /// have this mark.
    pub fn begin(&self, begin: &str, mark: &Mark) -> String {
        // The check of the mark is a query, so it comes after `begin`: the isolation level cannot
        // be set after the first query of a transaction.
        format!("{begin}; {}", mark.check())
    }

    /// Returns the statements that open a transaction in a session that a handler has used. They
    /// first reset the session in a transaction of its own. If that reset were part of the new
    /// transaction, a rollback would restore the handler's settings.
    pub fn begin_anew(&self, begin: &str, mark: &Mark) -> String {
        let (check, reset) = (mark.check(), self.reset(mark));
        let plain = begin_to_write!();
        format!("{plain}; {check}; {reset} commit; {begin}; {check}")
    }

    /// Returns the statements that reset the session, for use inside an open transaction.
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
        // The mark becomes part of SQL statements, so only the characters of a UUID are accepted.
        let is_plain = |mark: &String| mark.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        match mark.filter(is_plain) {
            Some(mark) => Ok((connection, Mark(mark))),
            None => {
                let doing = "mark a session: the server did not return a UUID";
                Err(Fault::plain(FaultKind::Unavailable, doing))
            }
        }
    }

    /// Connects, runs the given statements, and returns the first row of their results, if there is
    /// one.
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

    /// Refuses a connection pooler that lends each session of the server to several connections, to
    /// each for one transaction (PgBouncer: `pool_mode = transaction`). Settings, prepared
    /// statements and a migration's lock belong to the session, so another client would get them.
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

/// Returns whether the two open connections share a session of the server.
async fn share(first: &mut PgConnection, second: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let before = served_by(first).await?;
    let other = served_by(second).await?;
    // If a connection pooler has lent the first connection's session to another client meanwhile,
    // the first connection now has another session. This too shows that the pooler shares sessions.
    let after = served_by(first).await?;
    Ok(before == other || before != after)
}

/// Returns the process id of the server process that serves the connection. It uses no prepared
/// statement, because a pooler that shares sessions may break those.
pub(crate) async fn served_by(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let asked = sqlx::raw_sql("select pg_backend_pid()");
    connection.fetch_one(asked).await?.try_get(0)
}
