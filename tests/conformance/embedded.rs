//! The harness of the embedded driver, which is both broker and store.

use std::sync::Arc;

use async_trait::async_trait;
use hookbox_conformance::{BrokerHarness, Failed, StoreHarness};
use hookbox_driver_sqlite::Sqlite;
use hookbox_tests::sqlite::SqliteWorld;
use sqlx::SqliteConnection;

pub struct Embedded(Arc<SqliteWorld>);

impl Embedded {
    /// Broker and store in one file, as they are meant to be.
    pub async fn pair() -> (Self, Self) {
        let world = Arc::new(SqliteWorld::new(&["one", "two"]).await);
        (Self(Arc::clone(&world)), Self(world))
    }

    /// The last of a pair ends the world.
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
        Arc::new(self.0.open().await)
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

    /// SQLite takes back a failed statement alone; only this kind of failure takes the whole
    /// transaction with it.
    async fn spoil(connection: &mut SqliteConnection) {
        let insert = "insert or rollback into effects (key) values (null)";
        assert!(sqlx::query(insert).execute(connection).await.is_err());
    }

    async fn commit_raw(connection: &mut SqliteConnection) {
        sqlx::query("commit").execute(connection).await.unwrap();
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

    async fn new() -> Self {
        Self(Arc::new(SqliteWorld::new(&["one", "two"]).await))
    }

    async fn open(&self) -> Arc<Sqlite> {
        Arc::new(self.0.open().await)
    }

    async fn sever(&self) {
        self.0.sever().await;
    }

    /// There is no link that could be cut one way.
    async fn lose_answers(&self) {
        self.0.sever().await;
    }

    async fn restore(&self) {
        self.0.restore().await;
    }

    async fn finish(self) {
        self.end().await;
    }
}
