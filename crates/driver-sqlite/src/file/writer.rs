//! The writer: the one connection of this process that may write. One transaction uses it at a
//! time.
//!
//! [`crate::file::turns`] decides in which order callers get the connection. When a transaction
//! ends without its own commit or rollback, its connection is closed, which rolls the transaction
//! back, and the next transaction opens a new connection. A connection is also closed after a
//! handler that is not hookbox's own has used it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hookbox_driver::{Fault, FaultKind};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteTransactionManager};
use sqlx::{ConnectOptions, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;
use tokio::time::{Instant, timeout};

use crate::Options;
use crate::diagnose::{diagnose, fault};
use crate::file::connect::for_writing;
use crate::file::idle::{Idle, Leashed};
use crate::file::opened_file::OpenedFile;
use crate::file::purpose::Purpose;
use crate::file::room::Room;
use crate::file::turns::{Turn, Turns};

/// The statements that open a transaction. `BEGIN IMMEDIATE` takes the write lock at once, because
/// a transaction that starts with a read and takes the lock later fails without waiting.
/// [`Unit::undo`] goes back to the outer savepoint. [`Unit::is_whole`] uses the inner one to detect
/// whether a handler has ended the transaction.
const BEGIN: &str = "begin immediate; savepoint hookbox_undo; savepoint hookbox_unit";

/// The statements that check whether the transaction of [`BEGIN`] is still open: they release its
/// savepoint and set it again. They fail when that transaction has ended, even if a handler has
/// opened another one since, because the new one has no such savepoint.
const REMARK: &str = "release hookbox_unit; savepoint hookbox_unit";

/// The statements that move both savepoints of [`BEGIN`] to the current end of the transaction.
const SET_SAVEPOINT: &str = "release hookbox_undo; savepoint hookbox_undo; savepoint hookbox_unit";

/// The statements that undo what was written since [`SET_SAVEPOINT`]. The first one removes the
/// inner savepoint, so the second one sets it again.
const UNDO: &str = "rollback to hookbox_undo; savepoint hookbox_unit";

/// The statement that sets for how many milliseconds SQLite itself waits for the lock of another
/// process; then hookbox retries. With a longer timeout, SQLite sleeps up to 100 ms between its
/// attempts, and hardly ever wakes between two transactions of a process that writes without a
/// pause. Publishes then took seconds.
const ASK_AGAIN: &str = "pragma busy_timeout = 3";

/// How long closing waits for a running transaction to end.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// How long a rollback may take. Normally it takes microseconds.
const ROLLBACK_WAIT: Duration = Duration::from_secs(1);

/// Keeps the writing connection between transactions, and opens transactions on it.
pub(crate) struct Writer {
    turns: Turns,
    idle: Arc<Idle>,
    options: SqliteConnectOptions,
    file: Arc<OpenedFile>,
    room: Arc<Room>,
    /// Whether the caller keeps every other process from using the file.
    exclusive: bool,
    /// How long a caller waits for other transactions of this process.
    line_wait: Duration,
    /// How long a caller waits while another process holds the write lock.
    lock_wait: Duration,
    closed: AtomicBool,
}

/// One transaction on the writing connection. Dropping this value rolls the transaction back.
pub(crate) struct Unit {
    leashed: Leashed,
    // The turn is declared after the connection, so that it is also dropped after it.
    turn: Turn,
    idle: Arc<Idle>,
    /// How many transactions the connection had committed when this transaction was opened.
    commits: u64,
    /// Whether a handler that is not hookbox's own has used the connection. Such a connection is
    /// closed after the transaction. There are too many ways to change a SQLite connection
    /// (pragmas, temporary triggers, attached files, functions) to revert each of them, and opening
    /// a new connection costs less than a commit.
    used: bool,
    /// The file that must still be at its path after the commit; `None` for a transaction that may
    /// commit after the file was displaced.
    confirms_in: Option<Arc<OpenedFile>>,
}

impl Writer {
    pub(crate) fn new(options: &Options, file: Arc<OpenedFile>, room: Arc<Room>) -> Self {
        Self {
            turns: Turns::new(),
            idle: Arc::default(),
            options: for_writing(options),
            file,
            room,
            exclusive: options.exclusive,
            line_wait: options.writer_wait,
            lock_wait: options.busy_timeout,
            closed: AtomicBool::new(false),
        }
    }

    /// Opens a transaction that holds the file's write lock. If the call is cancelled before it
    /// returns, its connection is closed, which rolls back. Returns a fault when the path no longer
    /// leads to the open file, or when the disk is full.
    pub(crate) async fn begin(&self) -> Result<Unit, Fault> {
        let file = Some(Arc::clone(&self.file));
        self.unit(file, Purpose::Process).await
    }

    /// Opens a transaction of an operator or of the accounting. The only difference from
    /// [`Writer::begin`] is when it gets its turn.
    pub(crate) async fn begin_to_operate(&self) -> Result<Unit, Fault> {
        let file = Some(Arc::clone(&self.file));
        self.unit(file, Purpose::Operate).await
    }

    /// Opens a transaction that accepts events. When the disk fills up, this kind of transaction is
    /// the first to be refused.
    pub(crate) async fn begin_to_accept(&self) -> Result<Unit, Fault> {
        let file = Some(Arc::clone(&self.file));
        self.unit(file, Purpose::Accept).await
    }

    /// Opens a transaction that takes and settles messages. If no other process uses the file, the
    /// transaction may commit even after the file was displaced. This is safe, because such a file
    /// is a spool. The messages of a spool are confirmed by another broker before they are settled
    /// here, and are redelivered if their settlement is lost.
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
        let turn = self.turn(self.line_wait, purpose, doing).await?;
        if self.closed.load(Ordering::Acquire) {
            return Err(Fault::plain(
                FaultKind::Unavailable,
                "write after the SQLite file was closed",
            ));
        }
        // The connection is declared after the turn, so that it is dropped before the turn when
        // this call fails or is cancelled.
        let mut leashed = match self.idle.take() {
            Some(leashed) => leashed,
            None => self.connect().await.map_err(fault(doing))?,
        };
        if let Some(file) = &confirms_in
            && let Err(displaced) = file.check()
        {
            self.idle.put_back(leashed);
            return Err(displaced.fault(doing));
        }
        let connection = &mut leashed.connection;
        if let Err(no_room) = self.room.secure(connection, purpose, ASK_AGAIN).await {
            self.idle.put_back(leashed);
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
        let commits = leashed.commits();
        Ok(Unit {
            leashed,
            turn,
            idle: Arc::clone(&self.idle),
            commits,
            used: false,
            confirms_in,
        })
    }

    /// Waits until the writing connection may be used.
    async fn turn(
        &self,
        limit: Duration,
        purpose: Purpose,
        doing: &'static str,
    ) -> Result<Turn, Fault> {
        let contention = FaultKind::Contention;
        match timeout(limit, self.turns.request(purpose)).await {
            Ok(Ok(turn)) => Ok(turn),
            // A request stays unanswered only when the turns are dropped together with this writer.
            Ok(Err(dropped)) => Err(Fault::new(contention, doing, dropped)),
            Err(late) => Err(Fault::new(contention, doing, late)),
        }
    }

    /// Returns how many callers wait for a transaction of this purpose.
    #[cfg(test)]
    pub(crate) fn waiting(&self, purpose: Purpose) -> usize {
        self.turns.waiting(purpose)
    }

    async fn connect(&self) -> sqlx::Result<Leashed> {
        let connected = self.options.connect().await;
        // The check comes after connecting, because the path may lead to another file by now, and
        // then the connection has opened that file.
        self.file.check()?;
        let mut connection = connected?;
        sqlx::raw_sql(ASK_AGAIN).execute(&mut connection).await?;
        Leashed::of(connection).await
    }

    /// Waits for the last transaction to end, and closes the connection. Later transactions are
    /// refused.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let turn = self.turn(CLOSE_WAIT, Purpose::Operate, "close the SQLite file");
        if let Ok(_turn) = turn.await
            && let Some(leashed) = self.idle.take()
        {
            leashed.close().await;
        }
    }
}

impl Unit {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.leashed.connection
    }

    /// Records that a handler which is not hookbox's own gets the connection, so that it is closed
    /// after the transaction.
    pub(crate) fn lend(&mut self) {
        self.used = true;
    }

    /// Returns whether anything was committed on the connection since this transaction was opened.
    /// Before [`Unit::commit`] is called, only a handler can have done that.
    pub(crate) fn has_committed(&self) -> bool {
        self.leashed.commits() != self.commits
    }

    /// Returns an error unless the transaction that was opened is still open, with no nested
    /// transaction in it.
    pub(crate) async fn is_whole(&mut self) -> sqlx::Result<()> {
        sqlx::raw_sql(REMARK)
            .execute(&mut self.leashed.connection)
            .await?;
        // The number of nested transactions is read only after the statement, because sqlx rolls
        // back a dropped nested transaction together with the next statement.
        if self.depth() != 1 {
            return Err(sqlx::Error::Protocol(
                "the handler left a nested transaction open".to_owned(),
            ));
        }
        Ok(())
    }

    /// Sets the savepoint to which [`Unit::undo`] goes back.
    pub(crate) async fn set_savepoint(&mut self) -> sqlx::Result<()> {
        let set = sqlx::raw_sql(SET_SAVEPOINT);
        set.execute(&mut self.leashed.connection).await?;
        Ok(())
    }

    /// Undoes what was written since [`Unit::set_savepoint`]. Returns an error when the transaction
    /// has ended.
    pub(crate) async fn undo(&mut self) -> sqlx::Result<()> {
        let undo = sqlx::raw_sql(UNDO);
        undo.execute(&mut self.leashed.connection).await?;
        Ok(())
    }

    /// Commits durably: with `synchronous=FULL`, SQLite syncs the write-ahead log before this
    /// returns. Returns an error when the file was displaced before or during the commit, because a
    /// restart would not find what was committed.
    pub(crate) async fn commit(mut self) -> sqlx::Result<()> {
        SqliteTransactionManager::commit(&mut self.leashed.connection).await?;
        let confirms_in = self.confirms_in.take();
        self.give_back();
        if let Some(file) = confirms_in {
            file.check()?;
        }
        Ok(())
    }

    /// Commits what was written, or rolls back if writing it has failed, which keeps the
    /// connection. After the file was displaced, no other connection can be opened, and without
    /// one, the messages in a file of one process could not be delivered.
    pub(crate) async fn end_with<T>(self, written: sqlx::Result<T>) -> sqlx::Result<T> {
        match written {
            Ok(written) => self.commit().await.map(|()| written),
            Err(error) => {
                self.rollback().await;
                Err(error)
            }
        }
    }

    /// Rolls back. A connection that cannot roll back in time is closed.
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

    /// Returns how many transactions are nested on the connection; 1 is the transaction itself.
    /// sqlx counts them, so that a `begin()` of a handler sets a savepoint.
    fn depth(&self) -> usize {
        SqliteTransactionManager::get_transaction_depth(&self.leashed.connection)
    }

    fn give_back(self) {
        let Unit {
            leashed,
            turn,
            idle,
            used,
            ..
        } = self;
        if used {
            drop(leashed);
        } else {
            idle.put_back(leashed);
        }
        // Dropping the turn lets the next transaction begin, which must find the connection in
        // `idle`.
        drop(turn);
    }
}
