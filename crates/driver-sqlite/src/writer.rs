//! The single writer: one connection per process that may write, lent to one unit at a time.
//!
//! Those who wait are served in order. A unit that does not end by its own commit or roll-back
//! takes its connection with it: it is closed, which rolls back, and the next unit opens another.
//! So does one whose connection a handler had that is not hookbox's own.

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

/// Takes the write lock at once (upgrading later fails without waiting), and sets the mark by
/// which [`Unit::is_whole`] detects that a handler ended the transaction.
const BEGIN: &str = "BEGIN IMMEDIATE; SAVEPOINT hookbox_unit";

/// The mark is gone when the transaction was ended, also when another was begun after it.
const REMARK: &str = "RELEASE hookbox_unit; SAVEPOINT hookbox_unit";

/// How many steps of SQLite's machine pass between two checks whether the statement is abandoned:
/// some tenths of a millisecond.
const STEPS_BETWEEN_CHECKS: i32 = 10_000;

/// How long SQLite itself waits for the lock of another process before we retry. Its own waits grow
/// to 100 ms, and a process that writes without a pause would hardly ever be met between two
/// transactions: publishes then took seconds.
const ASK_AGAIN: &str = "PRAGMA busy_timeout = 3";

/// How long to wait for a running unit to end when closing.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// How long a roll-back may take; it normally takes microseconds.
const ROLLBACK_WAIT: Duration = Duration::from_secs(1);

type Slot = Mutex<Option<Leashed>>;

/// Where the connection is kept between units.
pub(crate) struct Writer {
    slot: Arc<Slot>,
    options: SqliteConnectOptions,
    file: Arc<OpenedFile>,
    room: Arc<Room>,
    /// No other process opens the file.
    exclusive: bool,
    /// How long to wait in this process's queue.
    line_wait: Duration,
    /// How long to wait for another process.
    lock_wait: Duration,
    closed: AtomicBool,
}

/// One transaction of the writer. Dropped, it rolls back.
pub(crate) struct Unit {
    leashed: Leashed,
    slot: OwnedMutexGuard<Option<Leashed>>,
    /// How many transactions the connection had committed when this one began.
    commits: u64,
    /// A handler that is not hookbox's own has had the connection: it is not used again. There are
    /// too many ways to change a connection of SQLite's (pragmas, temporary triggers, attached
    /// files, functions) to revert each of them, and a new connection costs less than a commit.
    used: bool,
    /// What must be at its path once this is committed; none where that does not matter.
    confirms_in: Option<Arc<OpenedFile>>,
}

/// A connection whose running statement stops when it is dropped. Without that, a handler's
/// endless statement would keep the file locked for ever after its time limit.
struct Leashed {
    leash: Leash,
    connection: SqliteConnection,
    /// How many transactions it has committed, also those of a handler.
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

    /// Begins a transaction that holds the file's write lock. Cancelled half-way, its
    /// connection is closed, which rolls back. A file that its path does not lead to is refused,
    /// and so is one whose disk is full.
    pub(crate) async fn begin(&self) -> Result<Unit, Fault> {
        let file = Some(Arc::clone(&self.file));
        self.unit(file, Purpose::Process).await
    }

    /// The same, to take events in: those are refused first when the disk fills.
    pub(crate) async fn begin_to_accept(&self) -> Result<Unit, Fault> {
        let file = Some(Arc::clone(&self.file));
        self.unit(file, Purpose::Accept).await
    }

    /// The same, to take and settle messages. Where no other process opens the file, it need not
    /// be at its path: what is handed out is confirmed elsewhere, and is handed out again when the
    /// settlement is lost.
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
        // It was opened by the path, which may now lead to another file.
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

    /// Lets the last unit end, then closes. Later units are refused.
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

    /// A handler that is not hookbox's own gets the connection.
    pub(crate) fn lend(&mut self) {
        self.used = true;
    }

    /// Whether something was committed on the connection since the transaction began: not by us,
    /// as long as [`Unit::commit`] was not called.
    pub(crate) fn has_committed(&self) -> bool {
        self.leashed.commits.load(Ordering::Acquire) != self.commits
    }

    /// Checks that this is still the transaction that was begun.
    pub(crate) async fn is_whole(&mut self) -> sqlx::Result<()> {
        sqlx::raw_sql(REMARK)
            .execute(&mut self.leashed.connection)
            .await?;
        // After the round trip: a nested transaction that was dropped rolls back in the queue.
        if self.depth() != 1 {
            return Err(sqlx::Error::Protocol(
                "a nested transaction was left open".to_owned(),
            ));
        }
        Ok(())
    }

    /// Commits, durably: `synchronous=FULL` syncs the log before this returns. An error when the
    /// file was displaced by then: what was committed is in a file that no restart finds.
    pub(crate) async fn commit(mut self) -> sqlx::Result<()> {
        SqliteTransactionManager::commit(&mut self.leashed.connection).await?;
        let confirms_in = self.confirms_in.take();
        self.give_back();
        if let Some(file) = confirms_in {
            file.check()?;
        }
        Ok(())
    }

    /// Rolls back, or closes what cannot be rolled back in time.
    pub(crate) async fn rollback(mut self) {
        let rollback = SqliteTransactionManager::rollback(&mut self.leashed.connection);
        match timeout(ROLLBACK_WAIT, rollback).await {
            Ok(Ok(())) if self.depth() == 0 => self.give_back(),
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "a roll-back failed; its connection is closed");
            }
            Err(_) => tracing::debug!("a roll-back took too long; its connection is closed"),
        }
    }

    /// sqlx counts nested transactions, so that a handler's own `begin()` becomes a savepoint.
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
