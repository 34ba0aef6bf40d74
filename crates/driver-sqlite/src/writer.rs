//! The single writer: the one connection of a process that may write. One transaction uses it at a
//! time.
//!
//! Callers that wait get the connection in the order of their requests. A transaction that does not
//! end with its own commit or rollback has its connection closed, which rolls back, and the next
//! transaction opens a new one. The same happens to a connection that a handler that is not
//! hookbox's own has used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hookbox_driver::{Fault, FaultKind};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteTransactionManager};
use sqlx::{ConnectOptions, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, timeout};

use crate::Options;
use crate::connect::{self, for_writing};
use crate::diagnose::{diagnose, fault};
use crate::opened_file::OpenedFile;
use crate::room::{Purpose, Room};

/// The statements that open a transaction. They take the write lock at once, because upgrading a
/// lock later fails without waiting, and set the savepoint by which [`Unit::is_whole`] detects that
/// a handler ended the transaction.
const BEGIN: &str = "BEGIN IMMEDIATE; SAVEPOINT hookbox_unit";

/// The statements that renew this savepoint. They fail when the transaction was ended, even if
/// another one was opened after it.
const REMARK: &str = "RELEASE hookbox_unit; SAVEPOINT hookbox_unit";

/// How many steps of SQLite's virtual machine pass between two checks whether the statement is
/// abandoned: some tenths of a millisecond.
const STEPS_BETWEEN_CHECKS: i32 = 10_000;

/// The setting for how long SQLite itself waits for the lock of another process before hookbox
/// retries. SQLite's own waits grow to 100 ms, and would hardly ever end between two transactions
/// of a process that writes without a pause: publishes then took seconds.
const ASK_AGAIN: &str = "PRAGMA busy_timeout = 3";

/// How long closing waits for a running transaction to end.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// How long a rollback may take; it normally takes microseconds.
const ROLLBACK_WAIT: Duration = Duration::from_secs(1);

type Slot = Mutex<Option<Leashed>>;

/// The place where the connection is kept between transactions.
pub(crate) struct Writer {
    slot: Arc<Slot>,
    options: SqliteConnectOptions,
    file: Arc<OpenedFile>,
    room: Arc<Room>,
    /// Whether no other process opens the file.
    exclusive: bool,
    /// How long a caller waits in this process's queue.
    line_wait: Duration,
    /// How long a caller waits for another process.
    lock_wait: Duration,
    closed: AtomicBool,
}

/// One transaction of the writer. Dropping it rolls it back.
pub(crate) struct Unit {
    leashed: Leashed,
    slot: OwnedMutexGuard<Option<Leashed>>,
    /// How many transactions the connection had committed when this one was opened.
    commits: u64,
    /// Whether a handler that is not hookbox's own has used the connection, which is then not
    /// reused. There are too many ways to change a SQLite connection (pragmas, temporary triggers,
    /// attached files, functions) to revert each of them, and a new connection costs less than a
    /// commit.
    used: bool,
    /// The file that must still be at its path after the commit; `None` where that does not matter.
    confirms_in: Option<Arc<OpenedFile>>,
}

/// A connection whose running statement stops when the connection is dropped. Otherwise, a
/// handler's endless statement would keep the file locked for ever after the handler's time limit.
struct Leashed {
    leash: Leash,
    connection: SqliteConnection,
    /// How many transactions the connection has committed, including those of a handler.
    commits: Arc<AtomicU64>,
}

struct Leash(Arc<AtomicBool>);

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Writer {
    pub(crate) fn new(options: &Options, file: Arc<OpenedFile>, room: Arc<Room>) -> Self {
        Self {
            slot: Arc::default(),
            options: for_writing(options),
            file,
            room,
            exclusive: options.exclusive,
            line_wait: options.writer_wait,
            lock_wait: options.busy_timeout,
            closed: AtomicBool::new(false),
        }
    }

    /// Opens a transaction that holds the file's write lock. If the call is cancelled half-way, its
    /// connection is closed, which rolls back. It refuses a file to which its path does not lead,
    /// and a file whose disk is full.
    pub(crate) async fn begin(&self) -> Result<Unit, Fault> {
        let file = Some(Arc::clone(&self.file));
        self.unit(file, Purpose::Process).await
    }

    /// Opens a transaction that accepts events. When the disk fills, these transactions are refused
    /// first.
    pub(crate) async fn begin_to_accept(&self) -> Result<Unit, Fault> {
        let file = Some(Arc::clone(&self.file));
        self.unit(file, Purpose::Accept).await
    }

    /// Opens a transaction that takes and settles messages. If no other process opens the file, the
    /// file need not be at its path: delivered messages are confirmed elsewhere, and are
    /// redelivered when their settlement is lost.
    pub(crate) async fn begin_for_queues(&self) -> Result<Unit, Fault> {
        let file = (!self.exclusive).then(|| Arc::clone(&self.file));
        self.unit(file, Purpose::Drain).await
    }

    async fn unit(
        &self,
        confirms_in: Option<Arc<OpenedFile>>,
        purpose: Purpose,
    ) -> Result<Unit, Fault> {
        let doing = "begin a transaction";
        let mut slot = timeout(self.line_wait, Arc::clone(&self.slot).lock_owned())
            .await
            .map_err(|late| Fault::new(FaultKind::Contention, doing, late))?;
        if self.closed.load(Ordering::Acquire) {
            return Err(Fault::plain(
                FaultKind::Unavailable,
                "write after the SQLite file was closed",
            ));
        }
        let mut leashed = match slot.take() {
            Some(leashed) => leashed,
            None => self.connect().await.map_err(fault(doing))?,
        };
        if let Some(file) = &confirms_in
            && let Err(displaced) = file.check()
        {
            *slot = Some(leashed);
            return Err(displaced.fault(doing));
        }
        let connection = &mut leashed.connection;
        if let Err(no_room) = self.room.secure(connection, purpose, ASK_AGAIN).await {
            *slot = Some(leashed);
            return Err(no_room.fault(doing));
        }
        let asked = Instant::now();
        while let Err(error) =
            SqliteTransactionManager::begin(&mut leashed.connection, Some(BEGIN.into_sql_str()))
                .await
        {
            if diagnose(&error) != Some(FaultKind::Contention) || asked.elapsed() >= self.lock_wait
            {
                return Err(fault(doing)(error));
            }
        }
        let commits = leashed.commits.load(Ordering::Acquire);
        Ok(Unit {
            leashed,
            slot,
            commits,
            used: false,
            confirms_in,
        })
    }

    async fn connect(&self) -> sqlx::Result<Leashed> {
        let connected = self.options.connect().await;
        // The connection was opened by the path, which may now lead to another file.
        self.file.check()?;
        let mut connection = connected?;
        sqlx::raw_sql(ASK_AGAIN).execute(&mut connection).await?;
        let abandoned = Arc::new(AtomicBool::new(false));
        let looked_at = Arc::clone(&abandoned);
        let commits = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&commits);
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(STEPS_BETWEEN_CHECKS, move || {
            !looked_at.load(Ordering::Relaxed)
        });
        handle.set_commit_hook(move || {
            counted.fetch_add(1, Ordering::AcqRel);
            true
        });
        drop(handle);
        Ok(Leashed {
            leash: Leash(abandoned),
            connection,
            commits,
        })
    }

    /// Waits for the last transaction to end, then closes. Later transactions are refused.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Ok(mut slot) = timeout(CLOSE_WAIT, self.slot.lock()).await
            && let Some(leashed) = slot.take()
        {
            leashed.close().await;
        }
    }
}

impl Leashed {
    async fn close(self) {
        let Leashed {
            leash, connection, ..
        } = self;
        connect::close(connection).await;
        drop(leash);
    }
}

impl Unit {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.leashed.connection
    }

    /// Marks the session as used, because a handler that is not hookbox's own gets the connection.
    pub(crate) fn lend(&mut self) {
        self.used = true;
    }

    /// Returns whether something was committed on the connection since the transaction was opened.
    /// Before [`Unit::commit`] is called, only a handler can have done that.
    pub(crate) fn has_committed(&self) -> bool {
        self.leashed.commits.load(Ordering::Acquire) != self.commits
    }

    /// Checks that this is still the transaction that was opened.
    pub(crate) async fn is_whole(&mut self) -> sqlx::Result<()> {
        sqlx::raw_sql(REMARK)
            .execute(&mut self.leashed.connection)
            .await?;
        // This is checked after the round trip, because a dropped nested transaction rolls back
        // only with the next statement.
        if self.depth() != 1 {
            return Err(sqlx::Error::Protocol(
                "a nested transaction was left open".to_owned(),
            ));
        }
        Ok(())
    }

    /// Commits durably: `synchronous=FULL` syncs the log before this returns. It fails when the
    /// file was displaced by then, because a restart would not find what was committed.
    pub(crate) async fn commit(mut self) -> sqlx::Result<()> {
        SqliteTransactionManager::commit(&mut self.leashed.connection).await?;
        let confirms_in = self.confirms_in.take();
        self.give_back();
        if let Some(file) = confirms_in {
            file.check()?;
        }
        Ok(())
    }

    /// Rolls back, or closes a connection that cannot roll back in time.
    pub(crate) async fn rollback(mut self) {
        let rollback = SqliteTransactionManager::rollback(&mut self.leashed.connection);
        match timeout(ROLLBACK_WAIT, rollback).await {
            Ok(Ok(())) if self.depth() == 0 => self.give_back(),
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "a rollback failed; its connection is closed");
            }
            Err(_) => tracing::debug!("a rollback took too long; its connection is closed"),
        }
    }

    /// Returns the depth of nested transactions. sqlx counts them, so that a handler's own
    /// `begin()` becomes a savepoint.
    fn depth(&self) -> usize {
        SqliteTransactionManager::get_transaction_depth(&self.leashed.connection)
    }

    fn give_back(self) {
        let Unit {
            leashed,
            mut slot,
            used,
            ..
        } = self;
        if !used {
            *slot = Some(leashed);
        }
    }
}
