//! The harnesses of the drivers that talk to servers.

use std::sync::Arc;

use async_trait::async_trait;
use hookbox_conformance::{BrokerHarness, Failed, StoreHarness};
use hookbox_driver_postgres::Postgres;
use hookbox_driver_rabbitmq::Rabbit;
use hookbox_tests::postgres::PostgresWorld;
use hookbox_tests::proxy::Mode;
use hookbox_tests::rabbitmq::RabbitWorld;
use sqlx::PgConnection;

pub struct InPostgres(PostgresWorld);

#[async_trait]
impl StoreHarness for InPostgres {
    type Store = Postgres;

    async fn new() -> Self {
        Self(PostgresWorld::new().await)
    }

    async fn open(&self) -> Arc<Postgres> {
        Arc::new(self.0.open().await)
    }

    async fn effect(connection: &mut PgConnection, key: &str) {
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

    async fn spoil(connection: &mut PgConnection) {
        let failed = sqlx::query("select 1 / 0").execute(connection).await;
        assert!(failed.is_err());
    }

    async fn commit_raw(connection: &mut PgConnection) {
        sqlx::query("commit").execute(connection).await.unwrap();
    }

    async fn violate(connection: &mut PgConnection) -> Failed {
        let insert = "insert into effects (key) values (null)";
        Box::new(sqlx::query(insert).execute(connection).await.unwrap_err())
    }

    async fn sever(&self) {
        self.0.proxy.set(Mode::Hole);
    }

    async fn restore(&self) {
        self.0.proxy.set(Mode::Pass);
        self.0.proxy.cut();
    }

    async fn finish(self) {
        self.0.finish().await;
    }
}

pub struct InRabbit(RabbitWorld);

#[async_trait]
impl BrokerHarness for InRabbit {
    type Broker = Rabbit;

    async fn new() -> Self {
        Self(RabbitWorld::new(&["one", "two"]).await)
    }

    async fn open(&self) -> Arc<Rabbit> {
        Arc::new(self.0.open().await)
    }

    async fn sever(&self) {
        self.0.proxy.set(Mode::Hole);
    }

    async fn lose_answers(&self) {
        self.0.proxy.set(Mode::LoseAnswers);
    }

    async fn restore(&self) {
        self.0.proxy.set(Mode::Pass);
        self.0.proxy.cut();
    }

    async fn finish(self) {
        self.0.finish().await;
    }
}
