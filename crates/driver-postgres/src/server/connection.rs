//! A small set of connections to PostgreSQL, in place of sqlx's pool.
//!
//! The pool of sqlx 0.9.0 reuses a connection after a cancelled `begin` that left it inside a
//! transaction (H8), and waits without end for a dead connection (H10). Here, a caller borrows a
//! connection as a [`Lease`]. When the caller gives it back explicitly, the connection is reused.
//! When the lease is dropped, after an error, a cancellation or a deadline, the connection is
//! closed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hookbox_driver::{Fault, FaultKind};
use sqlx::postgres::PgTransactionManager;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{lifetime, moved};
use crate::Options;
use crate::diagnose;
use crate::server::query_error::QueryError;
use crate::server::refusal::Names;
use crate::server::session::{DISCARD_PLANS, Mark, Session};
use crate::server::time_limit::{goodbye, within};

/// How long an idle connection may take to open a transaction before a new connection replaces it.
/// Opening a transaction is one round trip and waits for no lock.
const REUSE_DEADLINE: Duration = Duration::from_secs(2);

/// The error text for a session without the mark of its connection: what failed, and the remedy.
const LENT: &str = "begin a transaction: this session belongs to another connection, because \
     a connection pooler lends sessions out for single transactions; set its mode to `session`";

/// All connections of one store to its database.
pub(crate) struct Connections {
    session: Session,
    options: Options,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Seat>>,
    /// A connection that only checks whether the server is reachable. The server may be reachable
    /// while all other connections are in use.
    probe: tokio::sync::Mutex<Option<Seat>>,
}

struct Seat {
    connection: PgConnection,
    /// The random text with which this connection has marked its session at the server. If a pooler
    /// exchanges the session, the mark is another one, and no transaction is opened.
    mark: Mark,
    /// When the connection must be closed at the latest, so that a pooler gets its session back.
    expires: Instant,
    /// When the server has to plan the statements of this connection anew.
    plans_expire: Instant,
    /// Whether a handler that is not hookbox's own has used the session since its last reset.
    used: bool,
}

/// A connection that a caller has borrowed, with an open transaction. Dropping the lease closes the
/// connection.
pub(crate) struct Lease {
    seat: Seat,
    home: Arc<Connections>,
    permit: OwnedSemaphorePermit,
}

impl Connections {
    pub fn new(session: Session, options: Options) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(options.connections_max as usize));
        Arc::new(Self {
            session,
            options,
            permits,
            idle: Mutex::default(),
            probe: tokio::sync::Mutex::default(),
        })
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Returns a connection on which `statement` has opened a transaction.
    ///
    /// Cancelling this call is harmless, because a connection whose transaction is only half opened
    /// is closed.
    pub async fn begin(self: &Arc<Self>, statement: &'static str) -> Result<Lease, Fault> {
        let mut permit = self.permit().await?;
        while let Some(seat) = self.take_idle() {
            let mut lease = Lease {
                seat,
                home: Arc::clone(self),
                permit,
            };
            match lease.start(statement, REUSE_DEADLINE).await {
                Ok(()) => return Ok(lease),
                // The idle connection could not open a transaction, so a new connection is opened
                // for this. The other idle connections are dropped, because they would most likely
                // fail for the same reason, such as a restart of the server.
                Err(_) => {
                    permit = lease.permit;
                    self.forget_idle();
                }
            }
        }
        let mut seat = self.connect().await?;
        moved::check(&mut seat.connection, self.options.connect_deadline).await?;
        let mut lease = Lease {
            seat,
            home: Arc::clone(self),
            permit,
        };
        lease
            .start(statement, self.options.connect_deadline)
            .await?;
        Ok(lease)
    }

    /// Checks whether the server answers, on a connection that is used for nothing else.
    ///
    /// Cancelling this call is harmless: during the query the connection is not in `self.probe`, so
    /// it is dropped with the call.
    pub async fn probe(&self) -> Result<(), Fault> {
        let mut held = self.probe.lock().await;
        if self.permits.is_closed() {
            let doing = "check the database: the store is closed";
            return Err(Fault::plain(FaultKind::Unavailable, doing));
        }
        self.retire_idle().await;
        if let Some(mut seat) = held.take() {
            if seat.is_expired() {
                goodbye(seat.connection).await;
            } else if within(REUSE_DEADLINE, seat.connection.ping()).await.is_ok() {
                *held = Some(seat);
                return Ok(());
            }
        }
        *held = Some(self.connect().await?);
        Ok(())
    }

    /// Closes idle connections that have reached their lifetime; without this, a connection that is
    /// never used again would stay open. Called for each transaction, and for each check of the
    /// server, which an idle process makes every few seconds.
    async fn retire_idle(&self) {
        let expired: Vec<Seat> = {
            let mut idle = self.lock_idle();
            if !idle.iter().any(Seat::is_expired) {
                return;
            }
            let (expired, kept) = idle.drain(..).partition(Seat::is_expired);
            *idle = kept;
            expired
        };
        for seat in expired {
            if !goodbye(seat.connection).await {
                // Closing one connection timed out, so the other expired ones are most likely
                // unresponsive, too. They are dropped here without an orderly close.
                return;
            }
        }
    }

    /// Refuses further calls of `begin`, and closes idle connections in an orderly way. A borrowed
    /// connection is closed when its [`Lease`] is dropped or given back.
    pub async fn close(&self) {
        self.permits.close();
        let probe = self.probe.lock().await.take();
        if let Some(seat) = probe {
            goodbye(seat.connection).await;
        }
        let idle = std::mem::take(&mut *self.lock_idle());
        for seat in idle {
            goodbye(seat.connection).await;
        }
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let doing = "get a connection to the database";
        let waiting = Arc::clone(&self.permits).acquire_owned();
        match tokio::time::timeout(self.options.acquire_deadline, waiting).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(closed)) => Err(Fault::new(FaultKind::Unavailable, doing, closed)),
            // Transactions of this process use all connections. That does not show that the
            // server is unavailable.
            Err(elapsed) => Err(Fault::new(FaultKind::Unavailable, doing, elapsed).local()),
        }
    }

    async fn connect(&self) -> Result<Seat, Fault> {
        let connect_deadline = self.options.connect_deadline;
        let (connection, mark) = self.session.connect_marked(connect_deadline).await?;
        let now = Instant::now();
        Ok(Seat {
            connection,
            mark,
            expires: now + lifetime::of_one(self.options.connection_lifetime),
            plans_expire: now + self.options.plan_lifetime,
            used: false,
        })
    }

    fn take_idle(&self) -> Option<Seat> {
        self.lock_idle().pop()
    }

    fn forget_idle(&self) {
        self.lock_idle().clear();
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Seat>> {
        // A panic cannot leave a list of connections half-changed, so a poisoned lock is safe to
        // use.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn is_expired(&self) -> bool {
        Instant::now() >= self.expires
    }
}

impl Lease {
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.seat.connection
    }

    /// Returns how many transactions and savepoints are open, as far as sqlx knows.
    pub fn depth(&self) -> usize {
        PgTransactionManager::get_transaction_depth(&self.seat.connection)
    }

    /// Commits. After an error that is not an answer of the server, it is unknown whether the
    /// transaction was committed.
    pub async fn commit(&mut self, limit: Duration) -> Result<(), QueryError> {
        let connection = &mut self.seat.connection;
        within(limit, PgTransactionManager::commit(connection)).await
    }

    /// Rolls the transaction back. Returns an error when the server does not answer within `limit`.
    pub async fn rollback(&mut self, limit: Duration) -> Result<(), QueryError> {
        let connection = &mut self.seat.connection;
        within(limit, PgTransactionManager::rollback(connection)).await
    }

    /// Marks the session as used, because a handler that is not hookbox's own gets the connection.
    pub fn lend(&mut self) {
        self.seat.used = true;
    }

    /// Returns the statements that reset the session to hookbox's settings.
    pub fn reset(&self) -> String {
        self.home.session.reset(&self.seat.mark)
    }

    /// Opens another connection to the same database, which is not one of [`Connections`].
    pub async fn another(&self) -> Result<PgConnection, Fault> {
        let limit = self.home.options.connect_deadline;
        self.home.session.connect(limit).await
    }

    /// Returns the names of the role, the database and the schema of the session.
    pub fn names(&self) -> Arc<Names> {
        Arc::clone(self.home.session.names())
    }

    /// Returns the options with which the store was opened.
    pub fn options(&self) -> &Options {
        &self.home.options
    }

    /// Makes the connection reusable. The caller must know that every statement succeeded and that
    /// the transaction has ended.
    pub async fn give_back(self) {
        let Self { seat, home, permit } = self;
        if seat.is_expired() || home.permits.is_closed() {
            goodbye(seat.connection).await;
        } else {
            home.lock_idle().push(seat);
        }
        drop(permit);
        home.retire_idle().await;
    }

    async fn start(&mut self, statement: &'static str, limit: Duration) -> Result<(), Fault> {
        let (session, mark) = (&self.home.session, &self.seat.mark);
        let mut statement = if self.seat.used {
            session.begin_anew(statement, mark)
        } else {
            session.begin(statement, mark)
        };
        let are_plans_old = Instant::now() >= self.seat.plans_expire;
        if are_plans_old {
            statement.push_str(DISCARD_PLANS);
        }
        let statement = AssertSqlSafe(statement).into_sql_str();
        let connection = &mut self.seat.connection;
        let begin = PgTransactionManager::begin(connection, Some(statement));
        within(limit, begin).await.map_err(|error| match error {
            QueryError::Database(error) if diagnose::is_unreadable_number(&error) => {
                Fault::new(FaultKind::Unavailable, LENT, QueryError::Database(error))
            }
            error @ (QueryError::Database(_)
            | QueryError::Refused { .. }
            | QueryError::Unresponsive { .. }) => error.ours("begin a transaction"),
        })?;
        self.seat.used = false;
        if are_plans_old {
            self.seat.plans_expire = Instant::now() + self.home.options.plan_lifetime;
        }
        Ok(())
    }
}
