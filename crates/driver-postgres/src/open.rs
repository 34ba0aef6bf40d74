//! Opens a store, unless it is a database that hookbox must not use. The checks change nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{Fault, OpenError};
use sqlx::PgConnection;

use crate::refused::{open_error, refused, unavailable};
use crate::server::connection::Connections;
use crate::server::inspect::inspect_server;
use crate::server::moved;
use crate::server::properties::Server;
use crate::server::query_error::QueryError;
use crate::server::refusal::{self, Names, Stage};
use crate::server::rights;
use crate::server::sequences;
use crate::server::session::{Session, begin_to_write};
use crate::server::time_limit::{goodbye, within};
use crate::{Options, Tx, ends, identity, in_the_way, meta, migrate, proof};

/// The statement that opens a transaction for what operators read: all statements in it see the
/// same snapshot.
const READ: &str = "begin isolation level repeatable read read only";

/// A store in a PostgreSQL database that is open. Clones share the connections.
#[derive(Clone)]
pub struct Postgres {
    pub(crate) connections: Arc<Connections>,
}

impl Postgres {
    /// Opens the database. The database must belong to the environment and the identity key of the
    /// options, have a schema that this hookbox can use, and be on a server whose commits are
    /// durable. Opening changes nothing.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let server = inspect_server(&options).await?;
        server.check(false)?;
        let session = options.session(&server)?;
        let limit = options.connect_deadline;
        let mut connection = session.connect(limit).await.map_err(unavailable)?;
        let checked = within(limit, check(&mut connection, &options, session.names())).await;
        let checked = match checked {
            Ok(checked) => checked,
            Err(error) => Err(explain(error, &mut connection, &session, limit).await),
        };
        goodbye(connection).await;
        checked?;
        Ok(Self {
            connections: Connections::new(session, options),
        })
    }

    /// Opens a transaction for a change that hookbox makes itself, without a handler.
    pub(crate) async fn write(&self) -> Result<Tx, Fault> {
        let lease = self.connections.begin(begin_to_write!()).await?;
        Ok(Tx::new(lease, self.connections.options().answer_deadline))
    }

    /// Opens a transaction for an attempt without a handler of the user, or for the record of how
    /// external calls ended.
    pub(crate) async fn attempt(&self) -> Result<Tx, Fault> {
        let lease = self.connections.begin(proof::BEGIN_OWN).await?;
        Ok(Tx::new(lease, self.connections.options().answer_deadline))
    }

    /// Opens a transaction for a handler that is not hookbox's own.
    pub(crate) async fn lend(&self) -> Result<Tx, Fault> {
        let lease = self.connections.begin(proof::BEGIN).await?;
        Ok(Tx::guarded(
            lease,
            self.connections.options().answer_deadline,
        ))
    }

    /// Opens a transaction for a change that an operator requested, with a longer time limit.
    pub(crate) async fn write_slowly(&self) -> Result<Tx, Fault> {
        let lease = self.connections.begin(begin_to_write!()).await?;
        Ok(Tx::new(lease, self.connections.options().report_deadline()))
    }

    /// Opens a transaction for reading, in which all statements see the same snapshot.
    pub(crate) async fn read(&self) -> Result<Tx, Fault> {
        let lease = self.connections.begin(READ).await?;
        Ok(Tx::new(lease, self.connections.options().report_deadline()))
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres")
            .field(self.connections.options())
            .finish()
    }
}

/// Returns the error for a failed check. If the role lacks rights, the error contains the
/// statements that grant all missing rights, because the server names only the first one.
async fn explain(
    error: QueryError,
    connection: &mut PgConnection,
    session: &Session,
    limit: Duration,
) -> OpenError {
    let names = session.names();
    let error = open_error(error, Stage::Use, names);
    if !matches!(error, OpenError::Refused { .. }) {
        return error;
    }
    let missing = within(limit, rights::missing(connection)).await;
    match missing.unwrap_or_default() {
        missing if missing.is_empty() => error,
        missing => refused(refusal::missing_rights(&missing, names), None),
    }
}

/// Checks the database. The inner result says whether the database may be used; the outer one is an
/// error when a query of the check failed.
async fn check(
    connection: &mut PgConnection,
    options: &Options,
    names: &Names,
) -> Result<Result<(), OpenError>, sqlx::Error> {
    let server = Server::read(connection).await?;
    if let Some(refused) = in_the_way::no_usage(connection, names).await? {
        return Ok(Err(refused));
    }
    if let Some(refused) = in_the_way::migrations(connection, &migrate::known()).await? {
        return Ok(Err(refused));
    }
    let environment = meta::environment(connection).await?;
    let identity = identity::compare(connection, options).await?;
    let found = migrate::version(connection).await?;
    let known = migrate::newest();
    if found >= known {
        if ends::are_of_another_server(connection).await? {
            return Ok(Err(refused(moved::refusal(), None)));
        }
        let behind = sequences::behind(connection).await?;
        if !behind.is_empty() {
            return Ok(Err(refused(sequences::refusal(&behind), None)));
        }
    }
    let works_on_newer = found > known && migrate::works_on_newer(connection).await?;
    if works_on_newer {
        tracing::warn!(
            found,
            known,
            "database schema {found} is newer than this build ({known}) but compatible; upgrade \
             this process"
        );
    }
    Ok(server
        .check(true)
        .and_then(|()| migrate::same_environment(environment.as_deref(), options))
        .and_then(|()| match found.cmp(&migrate::newest()) {
            std::cmp::Ordering::Less => Err(OpenError::SchemaOlder {
                found,
                wanted: migrate::newest(),
            }),
            std::cmp::Ordering::Equal | std::cmp::Ordering::Greater if environment.is_none() => {
                Err(OpenError::Unsafe {
                    what: "the database",
                    why: "the database has no environment stamp; run `hookbox migrate`".to_owned(),
                })
            }
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater if works_on_newer => Ok(()),
            std::cmp::Ordering::Greater => Err(migrate::newer(found)),
        })
        .and(identity)
        .and_then(|stamp| stamp.required("the database")))
}
