//! How a session begins: connected, then given our own settings.
//!
//! The settings are a statement and not parameters of the start: a connection pooler refuses
//! those (PgBouncer: "unsupported startup parameter: options") or drops them.

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{Fault, FaultKind, OpenError};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection, Row};

use crate::connection::{goodbye, within};
use crate::open::{open_error, unavailable};
use crate::refusal::{Names, Stage};

/// The levels are named, since a handler may have set others as the session's defaults.
const PLAIN_BEGIN: &str = "begin isolation level read committed read write";

/// Reverts what a handler can do to its session. The names and values that the driver sends at the
/// start of a session are set again: a pooler sends them to its server in its own way, so that
/// `reset all` may not bring them back.
const RESET: &str = "reset session authorization; reset role; reset all; unlisten *; close all; \
     discard temp; select pg_catalog.pg_advisory_unlock_all(); \
     set client_encoding = 'UTF8'; set datestyle = 'ISO, MDY'; set timezone = 'UTC';";

/// Marks a session for one connection. The server generates the mark and returns it.
const SET_MARK: &str = "select pg_catalog.set_config('hookbox.session', \
     pg_catalog.gen_random_uuid()::text, false)";

/// Distinguishes the session of one connection from all others. A pooler that begins to lend
/// sessions out for single transactions gives this connection the session of another one, whose
/// prepared statements have the same names: one with as many parameters would be run in place of
/// the intended one (H15).
pub(crate) struct Mark(String);

impl Mark {
    /// A query that fails, with 22P02, in any session but the one that has this mark.
    fn check(&self) -> String {
        let mark = &self.0;
        format!(
            "select (case pg_catalog.current_setting('hookbox.session', true) when '{mark}' \
             then '1' else 'this session is of another connection' end)::integer"
        )
    }

    /// Marks the session again, after a reset.
    fn set(&self) -> String {
        format!("set hookbox.session = '{}';", self.0)
    }
}

/// Where to connect to, and what to set then.
#[derive(Clone)]
pub(crate) struct Session {
    connect: PgConnectOptions,
    /// Statements, or nothing.
    settings: String,
    names: Arc<Names>,
}

impl Session {
    /// Nothing is set but what the server sets.
    pub fn plain(connect: PgConnectOptions) -> Self {
        // A parameter of the start that poolers do not know. It is about numbers in text, and
        // ours travel in binary.
        let connect = connect.extra_float_digits(None);
        let role = connect.get_username().to_owned();
        let database = connect.get_database().unwrap_or(&role).to_owned();
        Self {
            connect,
            settings: String::new(),
            names: Arc::new(Names { role, database }),
        }
    }

    /// With settings of ours: names and values are constants of ours, never untrusted text.
    pub fn with(mut self, settings: &[(&'static str, String)]) -> Self {
        let set = |(name, value): &(&str, String)| format!("set {name} = '{value}';");
        self.settings = settings.iter().map(set).collect();
        self
    }

    /// The statement that begins a transaction, and fails in any session but the marked one.
    pub fn begin(&self, begin: &str, mark: &Mark) -> String {
        // After `begin`: a transaction's isolation level cannot be set after its first query.
        format!("{begin}; {}", mark.check())
    }

    /// The statements that begin a transaction in a session that a handler has used. The reset is a
    /// transaction of its own, so that no roll-back brings the handler's settings back.
    pub fn begin_anew(&self, begin: &str, mark: &Mark) -> String {
        let (check, reset) = (mark.check(), self.reset(mark));
        format!("{PLAIN_BEGIN}; {check}; {reset} commit; {begin}; {check}")
    }

    /// Only the reset, inside of a transaction.
    pub fn reset(&self, mark: &Mark) -> String {
        let (settings, mark) = (&self.settings, mark.set());
        format!("{RESET}{settings}{mark}")
    }

    /// Whose sessions these are.
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// A new connection, within a deadline. Whatever the reason for a failure, for a running
    /// process it counts as an unavailable database: a password may be corrected.
    pub async fn connect(&self, limit: Duration) -> Result<PgConnection, Fault> {
        let (connection, _) = self.open(self.settings.clone(), limit).await?;
        Ok(connection)
    }

    /// A new connection whose session is marked.
    pub async fn connect_marked(&self, limit: Duration) -> Result<(PgConnection, Mark), Fault> {
        let statements = format!("{}{SET_MARK}", self.settings);
        let (connection, row) = self.open(statements, limit).await?;
        let mark: Option<String> = row.and_then(|row| row.try_get(0).ok());
        // It becomes part of statements, so nothing but a UUID is taken.
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

    /// Refuses a pooler that lends one session of the server to several connections, a
    /// transaction at a time (PgBouncer: `pool_mode = transaction`). Settings, prepared
    /// statements and a migrator's lock belong to a session: there they would belong to another
    /// client.
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

/// Whether two open connections are served by one process of the server.
async fn share(first: &mut PgConnection, second: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let before = served_by(first).await?;
    let other = served_by(second).await?;
    // A pooler that others use, too, may have lent the first one's meanwhile.
    let after = served_by(first).await?;
    Ok(before == other || before != after)
}

/// Read without a prepared statement, which a pooler in that mode may break.
async fn served_by(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let asked = sqlx::raw_sql("select pg_backend_pid()");
    connection.fetch_one(asked).await?.try_get(0)
}
