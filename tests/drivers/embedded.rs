//! The test harness of the SQLite driver, which is both broker and store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hookbox_conformance::{BrokerHarness, Failed, StoreHarness};
use hookbox_driver::{ExpectedIdentity, OpenError, PublishErrorKind};
use hookbox_driver_sqlite::{Sqlite, migrate};
use hookbox_tests::sqlite::SqliteWorld;
use sqlx::SqliteConnection;

pub struct Embedded(Arc<SqliteWorld>);

impl Embedded {
    /// Makes the harnesses of a broker and a store that share one SQLite file, as in a real
    /// deployment.
    pub async fn pair() -> (Self, Self) {
        Self::pair_in(SqliteWorld::new(&["one", "two"]).await)
    }

    /// Makes the harnesses of a broker and a store in this SQLite file.
    pub fn pair_in(world: SqliteWorld) -> (Self, Self) {
        let world = Arc::new(world);
        (Self(Arc::clone(&world)), Self(world))
    }

    pub fn file(&self) -> &SqliteWorld {
        &self.0
    }

    /// Opens the driver with time limits that are short enough for a test.
    async fn open_impatient(&self) -> Arc<Sqlite> {
        let mut options = self.0.options();
        options.busy_timeout = Duration::from_secs(2);
        options.lease = Duration::from_secs(3);
        Arc::new(Sqlite::open(options).await.unwrap())
    }

    async fn open_with(&self, identity: ExpectedIdentity) -> Result<Arc<Sqlite>, OpenError> {
        let mut options = self.0.options();
        options.identity = identity;
        Ok(Arc::new(Sqlite::open(options).await?))
    }

    async fn migrate_with(&self, identity: ExpectedIdentity) -> Result<(), OpenError> {
        let mut options = self.0.options();
        options.identity = identity;
        migrate(options).await.map(drop)
    }

    /// Removes the file when the last harness of a pair ends.
    async fn end(self) {
        if let Ok(world) = Arc::try_unwrap(self.0) {
            world.finish().await;
        }
    }
}

#[async_trait]
impl StoreHarness for Embedded {
    type Store = Sqlite;

    async fn new() -> Self {
        Self(Arc::new(SqliteWorld::new(&["one", "two"]).await))
    }

    async fn open(&self) -> Arc<Sqlite> {
        self.open_impatient().await
    }

    async fn open_small(&self) -> Arc<Sqlite> {
        let mut options = self.0.options();
        options.writer_wait = Duration::from_secs(1);
        Arc::new(Sqlite::open(options).await.unwrap())
    }

    async fn open_as(&self, identity: ExpectedIdentity) -> Result<Arc<Sqlite>, OpenError> {
        self.open_with(identity).await
    }

    async fn stamp(&self, identity: ExpectedIdentity) -> Result<(), OpenError> {
        self.migrate_with(identity).await
    }

    async fn effect(connection: &mut SqliteConnection, key: &str) {
        let insert = "insert into effects (key) values ($1)";
        sqlx::query(insert)
            .bind(key)
            .execute(connection)
            .await
            .unwrap();
    }

    async fn effects(&self, key: &str) -> u64 {
        self.0
            .count("select count(*) from effects where key = $1", key)
            .await
    }

    /// Runs a failing statement that breaks the transaction. In SQLite a failed statement usually
    /// reverts only itself, and the transaction can be committed. A failed `insert or rollback`
    /// reverts the whole transaction, as every failed statement does on PostgreSQL.
    async fn spoil(connection: &mut SqliteConnection) {
        let insert = "insert or rollback into effects (key) values (null)";
        assert!(sqlx::query(insert).execute(connection).await.is_err());
    }

    async fn break_at_commit(connection: &mut SqliteConnection) {
        let defer = "create table parents (id integer primary key);
             create table children (parent integer references parents
                                    deferrable initially deferred);
             insert into children values (1)";
        sqlx::raw_sql(defer).execute(connection).await.unwrap();
    }

    async fn commit_raw(connection: &mut SqliteConnection) {
        sqlx::query("commit").execute(connection).await.unwrap();
    }

    async fn roll_back_raw(connection: &mut SqliteConnection) {
        sqlx::query("rollback").execute(connection).await.unwrap();
    }

    async fn undo_to_savepoint(connection: &mut SqliteConnection, key: &str) {
        let mark = sqlx::raw_sql("savepoint its_own");
        mark.execute(&mut *connection).await.unwrap();
        Self::effect(connection, key).await;
        let undo = sqlx::raw_sql("rollback to its_own");
        undo.execute(connection).await.unwrap();
    }

    async fn change_session(connection: &mut SqliteConnection) {
        let change = sqlx::raw_sql("pragma query_only = on");
        change.execute(connection).await.unwrap();
    }

    async fn leave_behind(connection: &mut SqliteConnection) {
        let leave = sqlx::raw_sql("create temporary table left_behind (n integer)");
        leave.execute(connection).await.unwrap();
    }

    async fn finds_left_behind(connection: &mut SqliteConnection) -> bool {
        let find = "select exists (select 1 from temp.sqlite_schema where name = 'left_behind')";
        sqlx::query_scalar(find)
            .fetch_one(connection)
            .await
            .unwrap()
    }

    /// SQLite has no connection that a handler could lose. Instead, the handler tries to attach a
    /// file that cannot be opened, which is the most similar failure.
    async fn lose(&self, connection: &mut SqliteConnection) -> Failed {
        let attach = "attach '/nowhere/at/all/hookbox.db' as other";
        Box::new(sqlx::query(attach).execute(connection).await.unwrap_err())
    }

    async fn violate(connection: &mut SqliteConnection) -> Failed {
        let insert = "insert into effects (key) values (null)";
        Box::new(sqlx::query(insert).execute(connection).await.unwrap_err())
    }

    async fn sever(&self) {
        self.0.sever().await;
    }

    async fn restore(&self) {
        self.0.restore().await;
    }

    async fn finish(self) {
        self.end().await;
    }
}

#[async_trait]
impl BrokerHarness for Embedded {
    type Broker = Sqlite;

    const REFUSED: PublishErrorKind = PublishErrorKind::Unavailable;

    /// SQLite writes messages that are published at the same moment in one transaction. When one of
    /// them is refused, all are.
    const REFUSES_ALONE: bool = false;

    async fn new() -> Self {
        Self(Arc::new(SqliteWorld::new(&["one", "two"]).await))
    }

    async fn open(&self) -> Arc<Sqlite> {
        self.open_impatient().await
    }

    async fn open_as(&self, identity: ExpectedIdentity) -> Result<Arc<Sqlite>, OpenError> {
        self.open_with(identity).await
    }

    async fn stamp(&self, identity: ExpectedIdentity) -> Result<(), OpenError> {
        self.migrate_with(identity).await
    }

    async fn sever(&self) {
        self.0.sever().await;
    }

    async fn refuse_two(&self) {
        let refuse = "create trigger refuse before insert on messages
                      when new.queue like '%.route.two'
                      begin select raise(abort, 'the queue is full'); end";
        self.0.execute(refuse).await;
    }

    /// SQLite has no network connection on which only the answers could be lost. Therefore the
    /// whole file is locked.
    async fn lose_answers(&self) {
        self.0.sever().await;
    }

    async fn restore(&self) {
        self.0.restore().await;
        self.0.execute("drop trigger if exists refuse").await;
    }

    async fn finish(self) {
        self.end().await;
    }
}
