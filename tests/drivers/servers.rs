//! The test harnesses of the drivers that use servers: PostgreSQL and RabbitMQ.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hookbox_conformance::{BrokerHarness, Failed, StoreHarness};
use hookbox_driver::{ExpectedIdentity, OpenError, PublishErrorKind};
use hookbox_driver_postgres::{Options, Postgres, migrate};
use hookbox_driver_rabbitmq::{Rabbit, declare, topology};
use hookbox_testkit::proxy::Mode;
use hookbox_tests::postgres::PostgresWorld;
use hookbox_tests::rabbitmq::RabbitWorld;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use sqlx::PgConnection;

pub struct InPostgres(PostgresWorld);

impl InPostgres {
    pub fn database(&self) -> &PostgresWorld {
        &self.0
    }
}

#[async_trait]
impl StoreHarness for InPostgres {
    type Store = Postgres;

    async fn new() -> Self {
        Self(PostgresWorld::new().await)
    }

    async fn open(&self) -> Arc<Postgres> {
        let mut options = Options::new(self.0.url(), self.0.environment.clone());
        options.lock_timeout = Duration::from_secs(2);
        Arc::new(Postgres::open(options).await.unwrap())
    }

    async fn open_small(&self) -> Arc<Postgres> {
        let mut options = Options::new(self.0.url(), self.0.environment.clone());
        options.connections_max = 2;
        options.acquire_deadline = Duration::from_secs(1);
        Arc::new(Postgres::open(options).await.unwrap())
    }

    async fn open_as(&self, identity: ExpectedIdentity) -> Result<Arc<Postgres>, OpenError> {
        let mut options = Options::new(self.0.url(), self.0.environment.clone());
        options.identity = identity;
        Ok(Arc::new(Postgres::open(options).await?))
    }

    async fn stamp(&self, identity: ExpectedIdentity) -> Result<(), OpenError> {
        let mut options = Options::new(self.0.url(), self.0.environment.clone());
        options.identity = identity;
        // The future of `migrate` is not `Send`, so it runs on a blocking thread.
        let runtime = tokio::runtime::Handle::current();
        let migrating = move || runtime.block_on(migrate(options));
        let migrated = tokio::task::spawn_blocking(migrating).await;
        migrated.unwrap().map(drop)
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

    async fn break_at_commit(connection: &mut PgConnection) {
        let defer = "create table strict (key int unique deferrable initially deferred);
             insert into strict values (1), (1)";
        sqlx::raw_sql(defer).execute(connection).await.unwrap();
    }

    async fn commit_raw(connection: &mut PgConnection) {
        sqlx::query("commit").execute(connection).await.unwrap();
    }

    async fn roll_back_raw(connection: &mut PgConnection) {
        sqlx::query("rollback").execute(connection).await.unwrap();
    }

    async fn undo_to_savepoint(connection: &mut PgConnection, key: &str) {
        let mark = sqlx::raw_sql("savepoint its_own");
        mark.execute(&mut *connection).await.unwrap();
        Self::effect(connection, key).await;
        let undo = sqlx::raw_sql("rollback to its_own");
        undo.execute(connection).await.unwrap();
    }

    async fn change_session(connection: &mut PgConnection) {
        let change = sqlx::raw_sql("set search_path = pg_catalog");
        change.execute(connection).await.unwrap();
    }

    async fn leave_behind(connection: &mut PgConnection) {
        let leave = sqlx::raw_sql("create temporary table left_behind (n integer)");
        leave.execute(connection).await.unwrap();
    }

    async fn finds_left_behind(connection: &mut PgConnection) -> bool {
        let find = "select to_regclass('pg_temp.left_behind') is not null";
        sqlx::query_scalar(find)
            .fetch_one(connection)
            .await
            .unwrap()
    }

    async fn lose(&self, connection: &mut PgConnection) -> Failed {
        let statement = sqlx::query("select pg_terminate_backend(pg_backend_pid())");
        Box::new(statement.execute(connection).await.unwrap_err())
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

pub struct InRabbit {
    world: RabbitWorld,
    refuses: AtomicBool,
}

impl InRabbit {
    fn queue_of_two(&self) -> String {
        let topology = topology(&self.world.environment, &self.world.routes);
        topology.queues[1].name.clone()
    }
}

#[async_trait]
impl BrokerHarness for InRabbit {
    type Broker = Rabbit;

    const REFUSED: PublishErrorKind = PublishErrorKind::Rejected;

    const REFUSES_ALONE: bool = true;

    async fn new() -> Self {
        Self {
            world: RabbitWorld::new(&["one", "two"]).await,
            refuses: AtomicBool::new(false),
        }
    }

    async fn open(&self) -> Arc<Rabbit> {
        let mut options = self.world.options();
        options.heartbeat_seconds = 2;
        self.world.declare().await;
        Arc::new(Rabbit::open(options).await.unwrap())
    }

    async fn open_as(&self, identity: ExpectedIdentity) -> Result<Arc<Rabbit>, OpenError> {
        let mut options = self.world.options();
        options.identity = identity;
        Ok(Arc::new(Rabbit::open(options).await?))
    }

    async fn stamp(&self, identity: ExpectedIdentity) -> Result<(), OpenError> {
        let mut options = self.world.options();
        options.identity = identity;
        declare(&options).await.map(drop)
    }

    async fn sever(&self) {
        self.world.proxy.set(Mode::Hole);
    }

    async fn refuse_two(&self) {
        self.refuses.store(true, Ordering::Relaxed);
        refuse(&self.world.url, &self.queue_of_two()).await;
    }

    async fn lose_answers(&self) {
        self.world.proxy.set(Mode::LoseAnswers);
    }

    async fn restore(&self) {
        self.world.proxy.set(Mode::Pass);
        self.world.proxy.cut();
        if self.refuses.swap(false, Ordering::Relaxed) {
            // The queue that refuses messages has other arguments than the queue of the driver,
            // which the driver would report as an error. So the refusing queue is deleted, and the
            // queue of the driver is declared again.
            delete(&self.world.url, &self.queue_of_two()).await;
            self.world.declare().await;
        }
    }

    async fn finish(self) {
        self.world.finish().await;
    }
}

/// Replaces a queue with one that refuses every message because its limit is zero.
async fn refuse(url: &str, queue: &str) {
    delete(url, queue).await;
    let connection = Connection::connect(url, ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), AMQPValue::LongLongInt(0));
    let overflow = AMQPValue::LongString("reject-publish".into());
    full.insert("x-overflow".into(), overflow);
    let durable = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(queue.into(), durable, full);
    declared.await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

async fn delete(url: &str, queue: &str) {
    let connection = Connection::connect(url, ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let deleted = channel.queue_delete(queue.into(), Default::default());
    deleted.await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}
