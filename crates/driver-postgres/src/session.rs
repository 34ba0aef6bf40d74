//! How a session begins: connected, then given our own settings.
//!
//! The settings are a statement and not parameters of the start: a connection pooler refuses
//! those (PgBouncer: "unsupported startup parameter: options") or drops them.

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{Fault, FaultKind, OpenError};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection, Row};

use crate::connection::{ask, goodbye};
use crate::open::{away, unavailable};
use crate::refusal::{Names, Stage};

/// The levels are named, since a handler may have set others as the session's defaults.
const PLAIN_BEGIN: &str = "begin isolation level read committed read write";

/// Takes back what a handler can do to its session. The names and values that the driver sends at
/// the start of a session are set again: a pooler sends them to its server in its own way, so that
/// `reset all` may not bring them back.
const RESET: &str = "reset session authorization; reset role; reset all; unlisten *; close all; \
     discard temp; select pg_catalog.pg_advisory_unlock_all(); \
     set client_encoding = 'UTF8'; set datestyle = 'ISO, MDY'; set timezone = 'UTC';";

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

    /// With settings of ours: names and values are our own words, never a stranger's.
    pub fn with(mut self, settings: &[(&'static str, String)]) -> Self {
        let set = |(name, value): &(&str, String)| format!("set {name} = '{value}';");
        self.settings = settings.iter().map(set).collect();
        self
    }

    /// What begins a transaction in a session that a handler has had. The reset is a transaction
    /// of its own, so that no roll-back brings the handler's settings back.
    pub fn begin_anew(&self, begin: &str) -> String {
        let settings = &self.settings;
        format!("{PLAIN_BEGIN}; {RESET}{settings} commit; {begin}")
    }

    /// The reset alone, inside of a transaction.
    pub fn reset(&self) -> String {
        let settings = &self.settings;
        format!("{RESET}{settings}")
    }

    /// Whose sessions these are.
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// A new connection, within a deadline. Whatever the reason that there is none, for a running
    /// process it is the database that is not there for it: a password may be corrected.
    pub async fn connect(&self, limit: Duration) -> Result<PgConnection, Fault> {
        let doing = "connect to the database";
        let begin = async {
            let mut connection = self.connect.connect().await?;
            if !self.settings.is_empty() {
                let settings = sqlx::raw_sql(AssertSqlSafe(self.settings.clone()));
                connection.execute(settings).await?;
            }
            Ok(connection)
        };
        ask(limit, begin)
            .await
            .map_err(|error| error.refused_at(Stage::Connect, &self.names))
            .map_err(|error| Fault::new(FaultKind::Unavailable, doing, error))
    }

    /// Refuses a pooler that lends one session of the server to several connections, a
    /// transaction at a time (PgBouncer: `pool_mode = transaction`). Settings, prepared
    /// statements and a migrator's lock belong to a session: there they would be somebody else's.
    pub async fn is_its_own(&self, limit: Duration) -> Result<(), OpenError> {
        let mut first = self.connect(limit).await.map_err(unavailable)?;
        let shared = match self.connect(limit).await {
            Ok(mut second) => {
                let shared = ask(limit, share(&mut first, &mut second)).await;
                goodbye(second).await;
                shared
            }
            Err(fault) => {
                goodbye(first).await;
                return Err(unavailable(fault));
            }
        };
        goodbye(first).await;
        if shared.map_err(|error| away(error, Stage::Use, &self.names))? {
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

/// Asked without a prepared statement, which a pooler in that mode may break.
async fn served_by(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let asked = sqlx::raw_sql("select pg_backend_pid()");
    connection.fetch_one(asked).await?.try_get(0)
}
