//! Jobs in a table of PostgreSQL, processed as graphile-worker and similar programs do: each of
//! several connections takes the next job with `for update skip locked` in one transaction, inserts
//! two rows in a second one, and deletes the job in a third one. PostgreSQL has its default
//! settings.

use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor as _};
use tokio::task::JoinSet;

use super::meter::Length;

/// The connections that work at a time. More of them are not faster on a machine with two cores.
const CONNECTIONS: usize = 8;

/// The number of jobs that wait at the start: more than can be done within one measurement.
const JOBS: i32 = 60_000;

const PREPARE: &str = include_str!("job_table.sql");

const CLEAR: &str = "drop table floor_jobs, floor_events, floor_scores";

const TAKE: &str = "\
    update floor_jobs set locked_at = now(), locked_by = 'floor', attempts = attempts + 1
    where id = (select id from floor_jobs
                where locked_at is null and run_at <= now() and attempts < max_attempts
                order by priority, run_at, id limit 1 for update skip locked)
    returning id, payload";

pub(super) async fn measure(url: &str, length: Length) -> Result<f64> {
    let mut connection = PgConnection::connect(url).await?;
    let prepare = PREPARE.replace("JOBS", &JOBS.to_string());
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(prepare)))
        .await?;
    let rate = work(url, length.warm_up + length.lasts).await;
    connection.execute(CLEAR).await?;
    connection.close().await?;
    rate
}

async fn work(url: &str, lasts: Duration) -> Result<f64> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(PgConnection::connect(url).await?);
    }
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for connection in connections {
        workers.spawn(take(connection, began + lasts));
    }
    let mut done = 0;
    while let Some(ended) = workers.join_next().await {
        done += ended??;
    }
    Ok(f64::from(done) / began.elapsed().as_secs_f64())
}

/// Does jobs until a time, and returns their number.
async fn take(mut connection: PgConnection, until: Instant) -> Result<u32, sqlx::Error> {
    let mut done = 0;
    while Instant::now() < until {
        let job: Option<(i64, String)> =
            sqlx::query_as(TAKE).fetch_optional(&mut connection).await?;
        let Some((id, payload)) = job else {
            break;
        };
        let mut tx = connection.begin().await?;
        sqlx::query("insert into floor_events (id, body) values ($1, $2)")
            .bind(id)
            .bind(&payload)
            .execute(&mut *tx)
            .await?;
        sqlx::query("insert into floor_scores (event, uid, score) values ($1, $2, 500)")
            .bind(id)
            .bind(id.to_string())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        sqlx::query("delete from floor_jobs where id = $1")
            .bind(id)
            .execute(&mut connection)
            .await?;
        done += 1;
    }
    Ok(done)
}
