//! Tests of leases that need what only PostgreSQL has: its sessions and its plans.

use std::num::NonZeroU32;
use std::time::Duration;

use hookbox_driver::{
    CallDeferral, CallEnd, CallFailure, CallResult, Claimed, CommitError, DeferReason,
    FailureClass, LeaseTerms, LeaseWish, Leased, Store, TargetAnswer, TargetLimits, TargetName,
    Then,
};
use hookbox_event::{Envelope, EventId, ReceiptId};
use hookbox_testkit::eventually::eventually;
use sqlx::Executor;

use crate::world::{DEAD, ROUTE, World, envelope, route};

/// The number of rows that are inserted into each table. A statement that reads a whole table reads
/// at least this many rows.
const GROWN: i64 = 50_000;

const BATCH: u32 = 64;

const TABLES: &str = "('events', 'claims', 'receipts', 'attempts', 'retries')";

fn target() -> TargetName {
    "https://target.example:443".parse().unwrap()
}

fn terms(target: &TargetName) -> LeaseTerms<'_> {
    LeaseTerms {
        target,
        limits: TargetLimits {
            concurrency: NonZeroU32::new(1_000).unwrap(),
            rate: None,
        },
        length: Duration::from_secs(3_600),
        lost_max: 3,
    }
}

fn wish(envelope: &Envelope) -> LeaseWish<'_> {
    LeaseWish {
        envelope,
        attempt: 1,
        attempts_before: 0,
        other_digest: None,
    }
}

#[tokio::test]
async fn a_lease_needs_a_durable_commit() {
    let world = World::new().await;
    let (one, target) = (envelope(1, 1, "{}"), target());
    let mut tx = world.store.begin().await.unwrap();
    let claimed = world.claim(&mut tx, &[&one]).await.unwrap();
    assert_eq!(claimed, [Claimed::Fresh]);
    let off = "set local synchronous_commit = off";
    let connection = world.store.connection(&mut tx);
    connection.execute(off).await.unwrap();
    let wishes = [wish(&one)];
    let (route, terms) = (route(ROUTE), terms(&target));
    let leased = world.store.lease(&mut tx, &route, terms, &wishes).await;
    let is_broken = matches!(leased, Err(CommitError::BrokenByHandler { .. }));
    assert!(is_broken, "{leased:?}");
    world.store.rollback(tx).await;

    // A handler may also switch durability off after the lease, so the guard must check it again.
    let mut tx = world.store.begin().await.unwrap();
    world.claim(&mut tx, &[&one]).await.unwrap();
    let leased = world.store.lease(&mut tx, &route, terms, &wishes).await;
    assert_eq!(
        leased.unwrap(),
        [Leased::Granted {
            epoch: 1,
            effect: 1
        }]
    );
    let connection = world.store.connection(&mut tx);
    connection.execute(off).await.unwrap();
    let committed = world.store.commit(tx).await;
    let is_broken = matches!(committed, Err(CommitError::BrokenByHandler { .. }));
    assert!(is_broken, "{committed:?}");
    assert_eq!(world.peek(&one).await, Claimed::Fresh);
}

/// A worker decides by its own clock when it is too late for a call. It counts from the moment
/// before it requests the lease, so the store must count from a later moment. The transaction may
/// have begun long before that.
#[tokio::test]
async fn a_lease_counts_from_its_request() {
    let world = World::new().await;
    let (one, target) = (envelope(1, 1, "{}"), target());
    let mut tx = world.store.begin().await.unwrap();
    world.claim(&mut tx, &[&one]).await.unwrap();
    let now = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint";
    let requested = world.number(now).await;
    let wishes = [wish(&one)];
    let leased = world
        .store
        .lease(&mut tx, &route(ROUTE), terms(&target), &wishes)
        .await;
    assert!(leased.unwrap()[0].is_granted());
    world.store.commit(tx).await.unwrap();
    let ends = "select (extract(epoch from not_before) * 1000000)::bigint from retries";
    let length = world.number(ends).await - requested;
    assert!(length >= 3_600_000_000, "{length}");
}

fn numbered(n: u32) -> Envelope {
    let mut one = envelope(0, 0, "{}");
    let (mut event, mut id) = ([0; 16], [1; 16]);
    event[..4].copy_from_slice(&n.wrapping_mul(0x9E37_79B1).to_be_bytes());
    event[4..8].copy_from_slice(&n.to_be_bytes());
    id[..4].copy_from_slice(&n.to_be_bytes());
    one.event = EventId::from_bytes(event);
    one.receipt = ReceiptId::from_bytes(id);
    one
}

/// Leases a batch, and records how its calls ended: a third is done, a third is deferred, and the
/// others fail.
async fn batch(world: &World, n: u32) {
    let (store, route, target) = (&world.store, route(ROUTE), target());
    let envelopes: Vec<Envelope> = (0..BATCH).map(|i| numbered(n * BATCH + i)).collect();
    let all: Vec<&Envelope> = envelopes.iter().collect();
    let mut tx = store.begin().await.unwrap();
    let claimed = world.claim(&mut tx, &all).await.unwrap();
    assert!(claimed.iter().all(|claimed| *claimed == Claimed::Fresh));
    let wishes: Vec<LeaseWish<'_>> = envelopes.iter().map(wish).collect();
    let leased = store.lease(&mut tx, &route, terms(&target), &wishes).await;
    let granted = Leased::Granted {
        epoch: 1,
        effect: 1,
    };
    assert!(leased.unwrap().iter().all(|leased| *leased == granted));
    let numbers = envelopes
        .iter()
        .map(|it| store.number(&tx, &route, &it.event));
    let numbers: Vec<_> = numbers.map(|number| number.unwrap()).collect();
    store.commit(tx).await.unwrap();
    let failure = |then| CallFailure {
        class: FailureClass::Transient,
        error: "no".into(),
        then,
    };
    let later = Then::Retry {
        after: Duration::from_secs(3_600),
    };
    let result = |number: usize| match number % 3 {
        0 => CallResult::Done,
        1 => CallResult::Deferred(CallDeferral {
            reason: DeferReason::TargetFault,
            least: Duration::from_secs(60),
            most: Duration::from_secs(60),
            age_max: Duration::from_secs(3_600),
            expired: failure(DEAD),
        }),
        _ => CallResult::Failed(failure(later)),
    };
    let end = |(at, envelope): (usize, &Envelope)| CallEnd {
        event: envelope.event,
        number: numbers[at],
        attempt: 1,
        attempts_before: 0,
        epoch: 1,
        took: Duration::from_millis(3),
        result: result(at),
        answer: TargetAnswer::Answered,
        target_error: None,
        version: None,
    };
    let ends: Vec<CallEnd> = envelopes.iter().enumerate().map(end).collect();
    store.end_calls(&route, &target, &ends, 0.5).await.unwrap();
}

#[tokio::test]
async fn leases_read_no_whole_tables_that_have_grown() {
    // A plan that the server keeps from when the tables were small reads them as a whole, until the
    // plan has reached its lifetime.
    let world = World::with(|options| options.plan_lifetime = Duration::ZERO).await;
    for table in ["events", "claims", "receipts", "attempts", "retries"] {
        let off = format!("alter table {table} set (autovacuum_enabled = off)");
        world.execute(&off).await;
    }
    // The statements run often enough for the server to cache their plans while the tables are
    // small. The tables grow below, and the statements must use indexes even then.
    for n in 0..10 {
        batch(&world, n).await;
    }
    world
        .execute(&format!(
            "insert into events (event_id, source, topic, content_digest, received_at)
             select substring(sha256(n::text::bytea) from 1 for 16), 's', 's.t',
                    sha256(n::text::bytea), now()
             from generate_series(1, {GROWN}) as n;
             insert into bodies (event, body) select number, '' from events where topic = 's.t';
             insert into claims (route, event, state, attempts)
             select '{ROUTE}', number, 'retrying', 1 from events where topic = 's.t';
             insert into attempts (route, event, attempt, outcome, error, took_ms)
             select '{ROUTE}', number, 1, 'transient', 'no', 1 from events where topic = 's.t';
             insert into retries (route, event, attempt, attempts_before, not_before)
             select '{ROUTE}', number, 2, 0, now() + interval '1 day'
             from events where topic = 's.t';
             insert into receipts (route, receipt_id, event, outcome, key_id, instance, number,
                                   received_at)
             select '{ROUTE}', gen_random_uuid(), number, 'retrying', 'k', gen_random_uuid(), 1,
                    now()
             from events where topic = 's.t'"
        ))
        .await;
    let inserted = format!(
        "select coalesce(min(n_tup_ins), 0)::bigint from pg_stat_user_tables
         where relname in {TABLES}"
    );
    counted(&world, &inserted, GROWN).await;
    let query = format!(
        "select coalesce(sum(seq_tup_read), 0)::bigint from pg_stat_user_tables
         where relname in {TABLES}"
    );
    let before = world.number(&query).await;
    for n in 10..20 {
        batch(&world, n).await;
    }
    world.store.close().await;
    let claims = "select coalesce(max(n_tup_ins), 0)::bigint from pg_stat_user_tables
                  where relname = 'claims'";
    counted(&world, claims, GROWN + 20 * i64::from(BATCH)).await;
    let read = world.number(&query).await - before;
    assert!(
        read < GROWN,
        "the statements must use indexes, but {read} rows were read without one"
    );
}

/// Waits until the server's statistics contain this many insertions.
async fn counted(world: &World, query: &str, rows: i64) {
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
