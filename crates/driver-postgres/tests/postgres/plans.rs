//! The statements that claim and settle a batch must find their rows by an index, even in a
//! database that was just created and never analysed.

use std::time::Duration;

use hookbox_driver::{Claimed, DeadFilter, Ledger, Outcome, ReceiptOutcome, Store};
use hookbox_event::{Envelope, EventId, ReceiptId};
use hookbox_testkit::eventually::eventually;

use crate::world::{ROUTE, World, envelope, route};

/// The number of events that are inserted at once, so that a small table becomes a large one.
const GROWN: i64 = 50_000;
const BATCH: u32 = 64;

/// How many batches are processed while the tables are small. The server caches a plan when a
/// statement has run six times. The statements that claim and settle run twice for each batch.
const SMALL: u32 = 5;

/// How many batches are processed.
const ALL: u32 = 25;

fn numbered(n: u32, receipt: u8) -> Envelope {
    let mut one = envelope(0, 0, "{}");
    let (mut event, mut id) = ([0; 16], [receipt; 16]);
    // The event ids are spread evenly over the index, as the digests of real events are.
    event[..4].copy_from_slice(&n.wrapping_mul(0x9E37_79B1).to_be_bytes());
    event[4..8].copy_from_slice(&n.to_be_bytes());
    id[..4].copy_from_slice(&n.to_be_bytes());
    one.event = EventId::from_bytes(event);
    one.receipt = ReceiptId::from_bytes(id);
    one
}

async fn batch(world: &World, envelopes: &[Envelope]) {
    let all: Vec<&Envelope> = envelopes.iter().collect();
    let mut tx = world.store.begin().await.unwrap();
    let claimed = world.claim(&mut tx, &all).await.unwrap();
    let outcomes = claimed.iter().map(|claimed| match claimed {
        Claimed::Fresh => Outcome::Done { attempt: 1 },
        Claimed::Duplicate => Outcome::Duplicate,
        other => panic!("{other:?}"),
    });
    let settled: Vec<ReceiptOutcome<'_>> = envelopes
        .iter()
        .zip(outcomes)
        .map(|(envelope, outcome)| ReceiptOutcome {
            envelope,
            outcome,
            other_digest: None,
        })
        .collect();
    world
        .store
        .settle(&mut tx, &route(ROUTE), &settled)
        .await
        .unwrap();
    world.store.commit(tx).await.unwrap();
}

#[tokio::test]
async fn a_unit_of_work_does_not_read_whole_tables_that_have_grown() {
    let world = World::new().await;
    grow(&world, async || {}).await;
    assert_read_by_index(world).await;
}

/// A plan that the server makes when it has analysed small tables reads them as a whole. So it must
/// not be used for long.
#[tokio::test]
async fn a_plan_from_when_the_tables_were_small_is_replaced() {
    let world = World::with(|options| options.plan_lifetime = Duration::ZERO).await;
    grow(&world, async || world.execute("analyze").await).await;
    assert_read_by_index(world).await;
}

/// Returns how often the server has executed the prepared statements that begin like this with a
/// plan that it kept, and how often with a plan that it made for the execution.
async fn plans(world: &World, begin: &'static str) -> (i64, i64) {
    let mut tx = world.store.begin().await.unwrap();
    let query = "select coalesce(sum(generic_plans), 0)::bigint,
                        coalesce(sum(custom_plans), 0)::bigint
                 from pg_prepared_statements where starts_with(statement, $1)";
    let asked = sqlx::query_as(query).bind(begin);
    let plans = asked.fetch_one(world.store.connection(&mut tx)).await;
    // A rollback would close the connection and lose its statements.
    world.store.commit(tx).await.unwrap();
    plans.unwrap()
}

#[tokio::test]
async fn plans_are_kept_in_attempts_and_nowhere_else() {
    let world = World::with(|options| options.connections_max = 1).await;
    for number in 1..=10 {
        let mut tx = world.store.begin_for_handler().await.unwrap();
        let of = envelope(number, number, "{}");
        world.claim(&mut tx, &[&of]).await.unwrap();
        world.store.prove(&mut tx).await.unwrap();
        let asked = sqlx::query_scalar("select current_setting('plan_cache_mode')");
        let mode: String = asked
            .fetch_one(world.store.connection(&mut tx))
            .await
            .unwrap();
        assert_eq!(
            mode, "auto",
            "the check after a handler must not change this"
        );
        world.store.prove(&mut tx).await.unwrap();
        let done = Outcome::Done { attempt: 1 };
        world.settle(&mut tx, &of, done).await.unwrap();
        world.store.commit(tx).await.unwrap();
        let listed = world.store.dead_list(&DeadFilter::default(), 0, 10).await;
        assert!(listed.unwrap().is_empty());
    }
    let (kept, _) = plans(&world, "with found as").await;
    assert!(
        kept > 0,
        "the server must keep the plan of the statement that settles"
    );
    let (kept, once) = plans(&world, "select d.*, e.event_id").await;
    assert_eq!(
        (kept, once),
        (0, 10),
        "each list must have a plan of its own"
    );
}

/// At a low load a batch has only a few events. The server must keep the plans of such batches,
/// too.
#[tokio::test]
async fn the_plans_of_small_batches_are_kept() {
    let world = World::with(|options| options.connections_max = 1).await;
    for number in 0..10 {
        batch(&world, &[numbered(number, 1)]).await;
    }
    for begin in ["with came as", "with wanted as", "with found as"] {
        let (kept, _) = plans(&world, begin).await;
        assert!(
            kept > 0,
            "the server must keep the plan of the statement {begin:?}"
        );
    }
}

/// Processes a few batches, so that the server caches the plans of their statements while the
/// tables are small, and then makes the tables large. `after_first` runs after the first batch.
async fn grow(world: &World, after_first: impl AsyncFnOnce()) {
    for table in ["events", "bodies", "claims", "receipts"] {
        let off = format!("alter table {table} set (autovacuum_enabled = off)");
        world.execute(&off).await;
    }
    fresh_and_duplicates(world, 0).await;
    after_first().await;
    for n in 1..SMALL {
        fresh_and_duplicates(world, n).await;
    }
    world
        .execute(&format!(
            "insert into events (event_id, source, topic, content_digest, received_at)
             select substring(sha256(n::text::bytea) from 1 for 16), 's', 's.t',
                    sha256(n::text::bytea), now()
             from generate_series(1, {GROWN}) as n;
             insert into bodies (event, body) select number, '' from events where topic = 's.t';
             insert into claims (route, event, state, attempts)
             select '{ROUTE}', number, 'done', 1 from events where topic = 's.t';
             insert into receipts (route, receipt_id, event, outcome, key_id, instance, number,
                                   received_at)
             select '{ROUTE}', gen_random_uuid(), events.number, 'done', 'k', gen_random_uuid(), 1, now()
             from events where topic = 's.t'"
        ))
        .await;
}

/// Checks that the statements read the tables, which are large now, by their indexes.
async fn assert_read_by_index(world: World) {
    // The server adds the row counts of a session to its statistics when the session ends, so the
    // test waits until all rows are counted.
    counted(&world, GROWN).await;
    let before = read_whole(&world).await;
    for n in SMALL..ALL {
        fresh_and_duplicates(&world, n).await;
    }
    world.store.close().await;
    counted(&world, GROWN + i64::from(ALL * BATCH)).await;
    // The server may read a small table as a whole. After the tables have grown, it must not. One
    // such read would show in the count, because it reads at least as many rows as were inserted.
    let read = read_whole(&world).await - before;
    assert!(
        read < GROWN,
        "the statements must use indexes, but {read} rows were read without one"
    );
}

/// Waits until the server's statistics contain this many insertions into each of the tables.
async fn counted(world: &World, rows: i64) {
    let query = "select coalesce(min(n_tup_ins), 0)::bigint from pg_stat_user_tables
                 where relname in ('events', 'bodies', 'claims', 'receipts')";
    eventually(
        "the server's statistics must contain all insertions",
        || async {
            match world.number(query).await {
                inserted if inserted >= rows => Ok(()),
                inserted => Err(format!("{inserted} rows")),
            }
        },
    )
    .await;
}

/// Returns how many rows the server has read without an index so far.
async fn read_whole(world: &World) -> i64 {
    let query = "select coalesce(sum(seq_tup_read), 0)::bigint from pg_stat_user_tables
                 where relname in ('events', 'bodies', 'claims', 'receipts')";
    world.number(query).await
}

async fn fresh_and_duplicates(world: &World, n: u32) {
    let fresh: Vec<Envelope> = (0..BATCH).map(|i| numbered(n * BATCH + i, 1)).collect();
    batch(world, &fresh).await;
    let duplicates: Vec<Envelope> = (0..4).map(|i| numbered(n * BATCH + i, 2)).collect();
    batch(world, &duplicates).await;
}
