//! Tests of programs that read the ends of events along, by a cursor or in the SQL view, while
//! transactions commit in another order than they began.
//!
//! The transactions of other tests on this server hold ends back as well, because all databases of
//! a server share the numbers of transactions. So the tests wait until ends can be read.

use std::collections::BTreeSet;
use std::time::Duration;

use hookbox_driver::{EndCursor, EndRow, EndsPage, EndsRead, Ledger, Outcome, Store};
use hookbox_driver_postgres::{Postgres, Tx};
use hookbox_event::{Envelope, EventId};
use hookbox_testkit::chance::Chance;
use hookbox_testkit::eventually::within;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use crate::world::{World, envelope};

/// How long a test waits for an end. It is long because other tests keep a transaction open for up
/// to a minute.
const PATIENCE: Duration = Duration::from_secs(240);

/// The seeds of the test with transactions in random order. [`EVENTS`] is the number of events for
/// each seed, and [`OPEN_MAX`] the largest number of transactions that are open at once.
const SEEDS: [u64; 3] = [1, 2, 3];
const EVENTS: u8 = 120;
const OPEN_MAX: usize = 6;

async fn page(store: &Postgres, after: Option<&EndCursor>, limit: u32) -> EndsPage {
    match store.ends(after, None, limit).await.unwrap() {
        EndsRead::Page(page) => page,
        EndsRead::Refused(refusal) => panic!("{refusal}"),
    }
}

/// Waits until this many ends can be read after the cursor, and returns them.
pub async fn read(store: &Postgres, after: Option<&EndCursor>, count: usize) -> Vec<EndRow> {
    within(PATIENCE, "the ends must be readable", async || {
        let rows = page(store, after, 1_000).await.rows;
        if rows.len() >= count {
            Ok(rows)
        } else {
            Err(rows)
        }
    })
    .await
}

/// Does with one envelope what a worker does before it commits.
async fn settled(world: &World, envelope: &Envelope) -> Tx {
    let mut tx = world.store.begin().await.unwrap();
    world.claim(&mut tx, &[envelope]).await.unwrap();
    let outcome = Outcome::Done { attempt: 1 };
    world.settle(&mut tx, envelope, outcome).await.unwrap();
    tx
}

fn events(rows: &[EndRow]) -> Vec<EventId> {
    rows.iter().map(|row| row.event).collect()
}

fn position(row: &EndRow) -> (u64, i64, String) {
    let cursor = &row.cursor;
    (
        cursor.position,
        cursor.event.as_i64(),
        cursor.route.to_string(),
    )
}

#[tokio::test]
async fn an_earlier_transaction_holds_back_what_is_committed_before_it() {
    let world = World::new().await;
    let store = &world.store;
    let (before, first, second) = (
        envelope(1, 1, "{}"),
        envelope(2, 2, "{}"),
        envelope(3, 3, "{}"),
    );
    world.process(&before, "before").await;
    let read_before = read(store, None, 1).await;
    let after = Some(&read_before[0].cursor);
    let earlier = settled(&world, &first).await;
    world.process(&second, "later").await;
    for _ in 0..3 {
        let page = page(store, after, 10).await;
        assert_eq!((events(&page.rows), page.next), (Vec::new(), None));
    }
    let database = world.database.name();
    let held = within(
        PATIENCE,
        "the transaction that holds the ends back must be named",
        async || {
            let held = store.ends_held_back().await.unwrap();
            // The oldest transaction of the server may be one of another test.
            held.filter(|held| held.by.as_ref().is_some_and(|by| by.database == database))
                .ok_or("the store names a transaction of another database")
        },
    )
    .await;
    let by = held.by.unwrap();
    assert_eq!(by.name, "hookbox");
    let query = format!(
        "select count(*) from pg_stat_activity
         where pid = {} and datname = '{database}' and state = 'idle in transaction'",
        by.process.unwrap()
    );
    assert_eq!(world.number(&query).await, 1);
    store.commit(earlier).await.unwrap();
    let rows = read(store, after, 2).await;
    assert_eq!(events(&rows), [first.event, second.event]);
    assert_eq!(
        store
            .ends_held_back()
            .await
            .unwrap()
            .filter(|held| { held.by.as_ref().is_some_and(|by| by.database == database) }),
        None
    );
    world.store.close().await;
}

/// Shows why readers need the cursor: a program that polls by a time column misses the event of a
/// transaction that began earlier and commits later.
#[tokio::test]
async fn a_poller_by_time_misses_what_the_cursor_returns() {
    let world = World::new().await;
    let mut connection = world.connect().await;
    let mut poll = async |after: String| {
        let query = "select settled_at::text from claims where settled_at > $1::text::timestamptz
                     order by settled_at";
        let times: Vec<String> = sqlx::query_scalar(query)
            .bind(after)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        times
    };
    let earlier = settled(&world, &envelope(1, 1, "{}")).await;
    world.process(&envelope(2, 2, "{}"), "later").await;
    let first = poll("-infinity".to_owned()).await;
    world.store.commit(earlier).await.unwrap();
    let newest = first.last().unwrap().clone();
    let second = poll(newest).await;
    assert_eq!((first.len(), second.len()), (1, 0));
    assert_eq!(read(&world.store, None, 2).await.len(), 2);
    connection.close().await.unwrap();
    world.store.close().await;
}

/// An open transaction of the test, and the events that are settled in it.
struct Open {
    tx: Tx,
    events: Vec<Envelope>,
}

/// Opens, commits and rolls back transactions in a random order. After every step, reads the new
/// ends by the cursor and in the view.
#[tokio::test]
async fn transactions_in_any_order_are_read_along_completely() {
    for seed in SEEDS {
        let world = World::new().await;
        let mut chance = Chance::new(seed);
        let mut connection = world.connect().await;
        let (mut open, mut committed) = (Vec::<Open>::new(), BTreeSet::new());
        let (mut by_cursor, mut by_view) = (Vec::new(), Vec::new());
        let mut next = 1;
        while next < EVENTS || !open.is_empty() {
            if next < EVENTS && open.len() < OPEN_MAX && chance.between(1, 2) == 1 {
                let count = u8::try_from(chance.between(1, 3)).unwrap();
                open.push(begin(&world, next, count).await);
                next += count;
            } else if !open.is_empty() {
                let place = usize::try_from(chance.between(0, open.len() as u64 - 1)).unwrap();
                let Open { tx, events } = open.swap_remove(place);
                if chance.between(1, 8) == 1 {
                    world.store.rollback(tx).await;
                } else {
                    world.store.commit(tx).await.unwrap();
                    committed.extend(events.iter().map(|one| one.event));
                }
            }
            let limit = u32::try_from(chance.between(1, 4)).unwrap();
            read_on(&world.store, &mut by_cursor, limit).await;
            view_on(&mut connection, &mut by_view, limit).await;
        }
        within(PATIENCE, "every end must be read", async || {
            read_on(&world.store, &mut by_cursor, 100).await;
            view_on(&mut connection, &mut by_view, 100).await;
            by_cursor.len() >= committed.len() && by_view.len() >= committed.len()
        })
        .await;
        assert!(by_cursor.is_sorted_by(|a, b| position(a) < position(b)));
        let found: BTreeSet<EventId> = by_cursor.iter().map(|row| row.event).collect();
        assert_eq!(found, committed, "seed {seed}");
        assert_eq!(by_cursor.len(), committed.len(), "seed {seed}");
        let positions: Vec<_> = by_cursor.iter().map(position).collect();
        assert_eq!(by_view, positions, "seed {seed}");
        connection.close().await.unwrap();
        world.store.close().await;
    }
}

/// Begins a transaction in which these events are settled.
async fn begin(world: &World, first: u8, count: u8) -> Open {
    let events: Vec<Envelope> = (first..first + count)
        .map(|number| envelope(number, number, "{}"))
        .collect();
    let mut tx = world.store.begin().await.unwrap();
    let all: Vec<&Envelope> = events.iter().collect();
    world.claim(&mut tx, &all).await.unwrap();
    let outcome = || Outcome::Done { attempt: 1 };
    for event in &events {
        world.settle(&mut tx, event, outcome()).await.unwrap();
    }
    Open { tx, events }
}

async fn read_on(store: &Postgres, read: &mut Vec<EndRow>, limit: u32) {
    let after = read.last().map(|row| row.cursor.clone());
    read.extend(page(store, after.as_ref(), limit).await.rows);
}

/// Reads the next rows of the view, as a program that uses SQL does.
async fn view_on(connection: &mut PgConnection, read: &mut Vec<(u64, i64, String)>, limit: u32) {
    let (position, event, route) = read.last().cloned().unwrap_or_default();
    let rows = sqlx::query(
        "select ended_xid::text, event, route from hookbox_ends
         where (ended_xid, event, route) > ($1::text::xid8, $2, $3)
         order by hookbox_ends.ended_xid, hookbox_ends.event, hookbox_ends.route limit $4",
    )
    .bind(position.to_string())
    .bind(event)
    .bind(route)
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await
    .unwrap();
    read.extend(rows.iter().map(|row| {
        let position: String = row.get(0);
        (position.parse().unwrap(), row.get(1), row.get(2))
    }));
}

/// docs/HANDLERS.md says how to order the rows of the view. In `order by`, a bare `ended_xid` means
/// the text column of the query. As a text, 10 comes before 9, so a reader would miss rows.
#[tokio::test]
async fn the_order_that_the_docs_give_is_that_of_numbers() {
    let page = include_str!("../../../../docs/HANDLERS.md");
    let order = "order by hookbox_ends.ended_xid, hookbox_ends.event, hookbox_ends.route";
    assert!(
        page.contains(order),
        "docs/HANDLERS.md must contain {order:?}"
    );
    let world = World::new().await;
    for number in 1..=3 {
        world.process(&envelope(number, number, "{}"), "e").await;
    }
    read(&world.store, None, 3).await;
    let moved = "update ends set ended_xid = (8 + event)::text::xid8";
    world.execute(moved).await;
    let (mut connection, mut found) = (world.connect().await, Vec::new());
    for _ in 0..4 {
        view_on(&mut connection, &mut found, 1).await;
    }
    let positions: Vec<u64> = found.iter().map(|row| row.0).collect();
    assert_eq!(positions, [9, 10, 11]);
    connection.close().await.unwrap();
    world.store.close().await;
}

/// A program that reads the view needs the right to read the view, and no other right.
#[tokio::test]
async fn the_view_needs_no_right_on_the_tables() {
    let world = World::new().await;
    world.process(&envelope(1, 1, "{}"), "e").await;
    read(&world.store, None, 1).await;
    let role = format!("reader_of_{}", world.database.name());
    let create = format!("create role {role}; grant select on hookbox_ends to {role}");
    world.execute(&create).await;
    let mut connection = world.connect().await;
    let set = format!("set role {role}");
    connection.execute(AssertSqlSafe(set)).await.unwrap();
    let columns = "select incarnation::text, outcome, round, attempts, topic, event_id, ended_at
                   from hookbox_ends";
    let row = sqlx::query(columns).fetch_one(&mut connection).await;
    let row = row.unwrap();
    let (outcome, topic): (String, String) = (row.get(1), row.get(4));
    assert_eq!(
        (&*outcome, &*topic),
        ("done", "begini.psychometric_score.complete")
    );
    for table in ["ends", "events", "bodies", "claims"] {
        let query = format!("select count(*) from {table}");
        let refused = connection.execute(AssertSqlSafe(query)).await;
        assert!(refused.is_err(), "{table}");
    }
    connection.close().await.unwrap();
    let gone = format!("drop owned by {role}; drop role {role}");
    world.execute(&gone).await;
    world.store.close().await;
}
