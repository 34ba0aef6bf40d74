//! Canaries: each test asserts that a hazard of sqlx 0.9.0 still exists. When one fails, sqlx has
//! fixed the hazard, and the failure message says which workaround may be removed.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, Executor, PgConnection, PgPool};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::testing::Database;

/// A proxy that delays the server's replies, or drops all traffic without closing the connection.
struct Link {
    url: String,
    late_ms: Arc<AtomicU64>,
    hole: Arc<AtomicBool>,
    _running: JoinSet<()>,
}

impl Link {
    async fn to(database: &Database) -> Self {
        let address = database.url().split(['@', '/']).nth(3).unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = database
            .url()
            .replace(&address, &format!("127.0.0.1:{port}"));
        let (late_ms, hole) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (late, swallow) = (Arc::clone(&late_ms), Arc::clone(&hole));
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut pairs = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&address).await.unwrap();
                pairs.spawn(pair(
                    client,
                    server,
                    Arc::clone(&late),
                    Arc::clone(&swallow),
                ));
            }
        });
        Self {
            url,
            late_ms,
            hole,
            _running: running,
        }
    }

    async fn pool_of_one(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(3))
            .connect(&self.url)
            .await
            .unwrap()
    }
}

async fn pair(
    mut client: TcpStream,
    mut server: TcpStream,
    late_ms: Arc<AtomicU64>,
    hole: Arc<AtomicBool>,
) {
    let (mut asked, mut answered) = ([0; 8192], [0; 8192]);
    loop {
        let (bytes, to) = tokio::select! {
            read = client.read(&mut asked) => (&asked[..read.unwrap_or(0)], &mut server),
            read = server.read(&mut answered) => {
                let late = Duration::from_millis(late_ms.load(Ordering::SeqCst));
                tokio::time::sleep(late).await;
                (&answered[..read.unwrap_or(0)], &mut client)
            }
        };
        if bytes.is_empty() {
            return;
        }
        if !hole.load(Ordering::SeqCst) && to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

async fn database() -> Database {
    let database = Database::create().await.unwrap();
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    connection
        .execute("create table effects (key text)")
        .await
        .unwrap();
    connection.close().await.unwrap();
    database
}

async fn effects(database: &Database) -> i64 {
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    let count = sqlx::query_scalar("select count(*) from effects")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    count
}

#[tokio::test]
async fn h8_a_cancelled_begin_poisons_the_pool() {
    let database = database().await;
    let link = Link::to(&database).await;
    let pool = link.pool_of_one().await;
    sqlx::query("select 1").execute(&pool).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    link.late_ms.store(50, Ordering::SeqCst);
    let begun = tokio::time::timeout(Duration::from_millis(20), connection.begin()).await;
    assert!(
        begun.is_err(),
        "`begin` completed within 20 ms, so this test could not cancel it"
    );
    drop(begun);
    drop(connection);
    let written = sqlx::query("insert into effects values ('lost')")
        .execute(&pool)
        .await;
    pool.close().await;
    let kept = effects(&database).await;
    assert!(
        written.is_ok_and(|done| done.rows_affected() == 1) && kept == 0,
        "sqlx no longer reuses a connection that a cancelled begin left in a transaction (H8): as \
         far as H8 is concerned, connection.rs could be replaced by sqlx's pool"
    );
}

#[tokio::test]
async fn h9_the_commit_of_an_aborted_transaction_is_ok() {
    let database = database().await;
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    tx.execute("insert into effects values ('lost')")
        .await
        .unwrap();
    assert!(tx.execute("select 1/0").await.is_err());
    let committed = tx.commit().await;
    assert_eq!(effects(&database).await, 0);
    assert!(
        committed.is_ok(),
        "sqlx no longer returns Ok for the commit of an aborted transaction (H9): the guard in \
         Tx::commit is then needed only against handlers that end the transaction"
    );
}

#[tokio::test]
async fn h10_a_dead_connection_eats_its_slot_in_the_pool() {
    let database = database().await;
    let link = Link::to(&database).await;
    let pool = link.pool_of_one().await;
    sqlx::query("select 1").execute(&pool).await.unwrap();
    link.hole.store(true, Ordering::SeqCst);
    let query = sqlx::query("select 1").execute(&pool);
    let silent = tokio::time::timeout(Duration::from_millis(300), query).await;
    assert!(
        silent.is_err(),
        "the query got an answer although the test's proxy drops all traffic"
    );
    link.hole.store(false, Ordering::SeqCst);
    let after = sqlx::query("select 1").execute(&pool).await;
    assert!(
        matches!(after, Err(sqlx::Error::PoolTimedOut)),
        "sqlx's pool now recovers from an unresponsive connection (H10): as far as H10 is \
         concerned, connection.rs could be replaced by sqlx's pool; got {after:?}"
    );
}
