//! Handlers that change their PostgreSQL session in every possible way. A worker on RabbitMQ and
//! PostgreSQL runs them mixed with ordinary handlers. No handler may ever find in its session what
//! the handler of another event left there.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookbox_conformance::envelope;
use hookbox_driver::{DeadFilter, DeadReason, Ledger};
use hookbox_driver_postgres::Postgres;
use hookbox_event::Envelope;
use hookbox_testkit::eventually::eventually_is;
use hookbox_worker::{Event, Handler, HandlerError, register};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use crate::probe::{Instructions, Pair};
use crate::whole::servers;

/// The number of events. The environment variable `HOOKBOX_TEST_SESSION_EVENTS` overrides it, for a
/// longer run.
const EVENTS: usize = 360;

/// A time limit that no handler reaches, however busy the machine is.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The session changes that hookbox reverts after the handler, without a failed attempt.
const LEAVES: [&str; 9] = [
    "create temporary table left_behind (n integer)",
    "prepare left_behind as select 1",
    "deallocate all",
    "listen left_behind",
    "select pg_advisory_lock(7)",
    "declare left_behind cursor with hold for select 1",
    "set app.tenant = 'left behind'",
    "set work_mem = '123 kB'",
    "savepoint left_behind",
];

/// The session changes that hookbox treats as a failure of the handler.
const CHANGES: [&str; 7] = [
    "set role ROLE",
    "set session authorization ROLE",
    "set search_path = pg_catalog",
    "set session_replication_role = replica",
    "set statement_timeout = 0",
    "set local lock_timeout = '1 s'",
    "set synchronous_commit = off",
];

/// A query that finds everything that another event may have left in the session.
const FINDS: &str = "select to_regclass('pg_temp.left_behind') is not null
     or exists (select from pg_prepared_statements where from_sql)
     or exists (select pg_listening_channels())
     or exists (select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())
     or exists (select from pg_cursors where name = 'left_behind')
     or coalesce(current_setting('app.tenant', true), '') <> ''
     or current_setting('work_mem') = '123kB'
     or current_user <> session_user
     or current_setting('session_replication_role') <> 'origin'
     or current_setting('statement_timeout') = '0'
     or current_setting('lock_timeout') = '1s'
     or current_setting('synchronous_commit') <> 'on'";

/// A handler that first searches its session for what the handler of another event left there. Then
/// it changes the session. The name of its event says how.
struct Mixed {
    role: String,
    found: Arc<AtomicU64>,
}

impl Handler<Postgres> for Mixed {
    const NAME: &'static str = "mixed";
    type Payload = Instructions;

    async fn handle(
        &self,
        event: &Event<Instructions>,
        tx: &mut PgConnection,
    ) -> Result<(), HandlerError> {
        let found: bool = sqlx::query_scalar(FINDS).fetch_one(&mut *tx).await?;
        if found {
            self.found.fetch_add(1, Ordering::SeqCst);
        }
        let name = event.payload.event.as_str();
        let mut words = name.split('-');
        let (kind, way) = (words.next().unwrap(), words.next().unwrap());
        let way: usize = way.parse().unwrap();
        let statement = match kind {
            "leaves" => LEAVES[way].to_owned(),
            "changes" => CHANGES[way].replace("ROLE", &self.role),
            "rolls" => "rollback".to_owned(),
            _ => String::new(),
        };
        if kind != "rolls" {
            effect(tx, name).await?;
        }
        tx.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await?;
        if kind == "rolls" {
            effect(tx, name).await?;
        }
        Ok(())
    }
}

async fn effect(tx: &mut PgConnection, key: &str) -> Result<(), sqlx::Error> {
    let insert = sqlx::query("insert into effects (key) values ($1)");
    insert.bind(key).execute(tx).await.map(drop)
}

/// Builds events whose handlers change their session, each kind of change in turn. An ordinary
/// event precedes each of them.
fn events(count: usize) -> Vec<Envelope> {
    let of = |number: usize| {
        let mut name = String::new();
        let ways = LEAVES.len() + CHANGES.len() + 1;
        let way = number / 2 % ways;
        let kind = match (number % 2, way) {
            (0, _) => "plain-0".to_owned(),
            (_, way) if way < LEAVES.len() => format!("leaves-{way}"),
            (_, way) if way < ways - 1 => format!("changes-{}", way - LEAVES.len()),
            _ => "rolls-0".to_owned(),
        };
        write!(name, "{kind}-{number}").unwrap();
        envelope(&name)
    };
    (0..count).map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_finds_anything_of_anothers_session() {
    let count = std::env::var("HOOKBOX_TEST_SESSION_EVENTS");
    let count = count.map_or(EVENTS, |text| text.parse().unwrap());
    let (brokers, stores) = servers().await;
    let pair = Pair::open(brokers, stores).await;
    let database = pair.stores.database();
    let role = format!("weak_of_{}", database.database.name());
    database.execute_any(&format!("create role {role}")).await;
    let found = Arc::new(AtomicU64::new(0));
    let handler = Mixed {
        role: role.clone(),
        found: Arc::clone(&found),
    };
    let all = events(count);
    let worker = pair.work_with(register(handler), TIME_LIMIT);
    let mut sent = 0;
    // The events are published in parts. All events of a part can be done before a wait of
    // `eventually` ends, so any number of events can be tested.
    for part in all.chunks(5 * 64) {
        for batch in part.chunks(64) {
            pair.publish(batch).await;
        }
        sent += part.len() as u64;
        let books = async || pair.books().await;
        eventually_is(
            "every event sent so far must be done or a dead letter",
            books,
            |it| it.done + it.dead >= sent,
        )
        .await;
    }
    worker.stop().await;
    let of = |kind: &str| {
        let is = |it: &&Envelope| String::from_utf8_lossy(&it.body).contains(kind);
        all.iter().filter(is).count() as u64
    };
    let (changes, rolls) = (of("changes-"), of("rolls-"));
    let done = count as u64 - changes - rolls;
    let books = pair.books().await;
    assert_eq!((books.done, books.dead), (done, changes + rolls));
    assert_eq!(
        found.load(Ordering::SeqCst),
        0,
        "no handler may find in its session what another event left"
    );
    for (reason, expect) in [
        (DeadReason::Orphaned, rolls),
        (DeadReason::Exhausted, changes),
        (DeadReason::Rejected, 0),
    ] {
        let filter = DeadFilter {
            reason: Some(reason),
            ..DeadFilter::default()
        };
        let dead = pair.store.dead_count(&filter).await.unwrap();
        assert_eq!(dead, expect, "{reason:?}");
    }
    let database = pair.stores.database();
    let once = "select count(*) from (select key from effects group by key having count(*) = 1) k";
    assert_eq!(database.count_all(once).await, done + rolls);
    let rows = database.count_all("select count(*) from effects").await;
    assert_eq!(rows, done + rolls, "no event may have two effects");
    database.execute_any(&format!("drop role {role}")).await;
    pair.finish().await;
}
