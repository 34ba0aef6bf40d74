//! Tests of a database that was moved by logical replication: it has the rows, but its sequences
//! start at 1.

use bytes::Bytes;
use hookbox_driver::{
    Claimed, DeadFilter, DeadReason, FaultKind, Ledger, OpenError, Recorded, Store,
    UndecodableMessage, describe,
};
use hookbox_driver_postgres::{Postgres, migrate};
use hookbox_event::Digester;
use sqlx::Connection;

use crate::world::{DEAD, World, envelope, environment, route};

const RESTART: &str = "alter sequence events_number_seq restart";

/// Checks that a text names the table and the command that raises its sequence.
#[track_caller]
fn assert_named(text: &str, table: &str) {
    let of_table = format!("rows of: {table}.");
    assert!(text.contains(&of_table), "{text}");
    assert!(text.contains("run `hookbox migrate`"), "{text}");
}

/// Opens the database, which must be refused because the sequence of the table is behind.
async fn assert_refused(world: &World, table: &str) {
    let opened = Postgres::open(world.database.options(&environment())).await;
    let Err(refused @ OpenError::Refused { .. }) = opened else {
        panic!("the database must be refused: {table}")
    };
    assert_named(&describe(&refused), table);
}

/// The number of a new event may be that of a stored one. Such an event must not count as one that
/// is stored already. Its message would be acknowledged, and lost.
#[tokio::test]
async fn an_event_whose_number_is_taken_is_a_fault_and_is_not_passed_over() {
    let mut world = World::new().await;
    for number in 1..=3 {
        world.process(&envelope(number, number, "{}"), "e").await;
    }
    let (scores, bytes) = (route("scores"), Bytes::from_static(b"not an envelope"));
    let undecodable = UndecodableMessage::new(
        &Digester::Plain,
        &scores,
        &bytes,
        DeadReason::Undecodable,
        "no mark",
    );
    world.execute(RESTART).await;
    let stored = world.store.store_undecodable(&undecodable).await;
    let fault = stored.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Internal);
    assert_named(&describe(&fault), "events");

    let new = envelope(4, 4, "{}");
    let mut tx = world.store.begin().await.unwrap();
    let fault = world.claim(&mut tx, &[&new]).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Internal);
    assert_named(&describe(&fault), "events");
    world.store.rollback(tx).await;
    world.store.close().await;

    world.execute(RESTART).await;
    assert_refused(&world, "events").await;
    let options = world.database.options(&environment());
    migrate(options.clone()).await.unwrap();
    world.store = Postgres::open(options).await.unwrap();
    let stored = world.store.store_undecodable(&undecodable).await.unwrap();
    assert_eq!(stored, Recorded::Recorded);
    let stored = world.store.store_undecodable(&undecodable).await.unwrap();
    assert_eq!(stored, Recorded::Superseded);
    assert_eq!(world.process(&new, "e").await, Claimed::Fresh);
    let all = DeadFilter::default();
    assert_eq!(world.store.dead_count(&all).await.unwrap(), 1);
    assert_eq!(world.number("select count(*) from events").await, 5);
    world.store.close().await;
}

/// The sequences are read from the catalogs, so that a table that gets one later is tested as well.
#[tokio::test]
async fn every_sequence_that_is_behind_is_refused_and_raised() {
    let world = World::new().await;
    world.fail(&envelope(1, 1, "{}"), 1, DEAD).await;
    let filter = DeadFilter::default();
    world.store.dead_discard(&filter, 1, "ada").await.unwrap();
    let mut connection = world.connect().await;
    let sequences: Vec<(String, String, String)> = sqlx::query_as(
        "select relname::text, attname::text,
                pg_get_serial_sequence(relname::text, attname::text)
         from pg_attribute join pg_class on pg_class.oid = attrelid
         where attidentity <> '' and relnamespace = 'public'::regnamespace
         order by 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let tables: Vec<&str> = sequences.iter().map(|(table, ..)| &**table).collect();
    assert_eq!(tables, ["audit", "dead_letters", "events", "incarnations"]);
    let options = world.database.options(&environment());
    for (table, column, sequence) in &sequences {
        let restart = format!("alter sequence {sequence} restart");
        world.execute(&restart).await;
        assert_refused(&world, table).await;
        migrate(options.clone()).await.unwrap();
        let store = Postgres::open(options.clone()).await.unwrap();
        store.close().await;
        let next = format!("select nextval('{sequence}') - max({column}) from {table}");
        assert_eq!(world.number(&next).await, 1, "{table}");
    }
    connection.close().await.unwrap();
    world.store.close().await;
}

/// An operator may have set the sequence by hand, so that it gives the next number first.
#[tokio::test]
async fn a_sequence_that_is_not_behind_is_left_as_it_is() {
    let world = World::new().await;
    for number in 1..=3 {
        world.process(&envelope(number, number, "{}"), "e").await;
    }
    let options = world.database.options(&environment());
    for by_hand in [
        "alter table events alter column number restart with 4",
        "select setval('events_number_seq', 3)",
        "select setval('events_number_seq', 4, false)",
    ] {
        world.execute(by_hand).await;
        let store = Postgres::open(options.clone()).await.unwrap();
        store.close().await;
        migrate(options.clone()).await.unwrap();
    }
    let next = "select nextval('events_number_seq')";
    assert_eq!(world.number(next).await, 4);
    world.store.close().await;
}
