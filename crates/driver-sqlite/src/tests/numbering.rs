//! Tests the migration of a file from schema 10, in which every table is keyed by event ids of 32
//! bytes, to the newest schema, in which the tables are keyed by event numbers.

use super::*;
use crate::Migrated;
use crate::migrate::migrate_to;
use hookbox_driver::{EventFilter, Ledger, OpenError};
use sqlx::Row as _;

/// The newest version of the schema in which events have no numbers.
const BEFORE: i64 = 10;

/// The events of the file, and the statements that insert the rows of each. The order of the events
/// in the file is not that in which they were received.
const EVENTS: [(u64, &str); 8] = [
    (8, UNDECODABLE),
    (5, CONFLICT),
    (1, DONE),
    (2, DONE_TWICE),
    (7, REPLAYED),
    (3, RETRYING),
    (6, ORPHANED),
    (4, DEAD),
];

/// The queries that read every table with events, in a form that is the same before and after the
/// migration: each row has the first 16 bytes of its event's id. `{of}` joins a table with its
/// events.
const TABLES: [&str; 9] = [
    "select hex(substr(e.event_id, 1, 16)), e.source, e.topic, hex(e.content_digest),
            e.received_at, e.created_at, b.seal, hex(b.body)
     from {bodies} order by 1",
    "select hex(substr(e.event_id, 1, 16)), t.route, t.state, t.attempts, t.claimed_at,
            t.settled_at, '', ''
     from claims as t {of} order by 1, 2",
    "select hex(substr(e.event_id, 1, 16)), t.route, hex(t.receipt_id), t.number, t.outcome,
            t.received_at || t.key_id || hex(t.instance), coalesce(t.traceparent, '')
            || t.settled_at, hex(t.other_digest)
     from receipts as t {of} order by 1, 2, 3",
    "select hex(substr(e.event_id, 1, 16)), t.route, t.attempt, t.outcome, t.error, t.took_ms,
            t.at, ''
     from attempts as t {of} order by 1, 2, 3",
    "select hex(substr(e.event_id, 1, 16)), t.route, t.attempt, t.attempts_before, t.not_before,
            t.queued_at, t.deferred_attempt, t.deferred_reason || t.deferred_since
     from retries as t {of} order by 1, 2",
    "select hex(substr(e.event_id, 1, 16)), t.id || t.route, t.state, t.reason, t.detail,
            t.attempts || ' ' || t.died_at, t.group_id, t.grouped_at
     from dead_letters as t {of} order by 1, 2",
    "select hex(substr(e.event_id, 1, 16)), t.uid || t.integration_id, t.kind, t.platform,
            t.score, t.risk_band || t.score_confidence, t.scored_at, t.other
     from begini_scores as t {of} order by 1",
    "select hex(substr(e.event_id, 1, 16)), t.position, t.key, t.value, t.risk_band, t.other, '',
            ''
     from begini_score_traits as t {of} order by 1, 2",
    "select hex(substr(e.event_id, 1, 16)), t.uid || t.integration_id, t.status, t.started_at,
            t.ended_at, t.percentages, t.reasons, t.other
     from begini_applications as t {of} order by 1",
];

/// The queries that read the tables without ids of events. A migration must leave their rows as
/// they are.
const OTHERS: [&str; 4] = [
    "select dead_letter, died_at, reason, detail, attempts, replayed_at, replayed_by, ''
     from earlier_deaths order by 1, 2",
    "select hex(receipt_id), route, hex(instance), number, told_at, '', '', ''
     from open_receipts order by 1",
    "select hex(receipt_id), route, attempt, starts, hex(started_by), started_at, isolated,
            unproven
     from starts order by 1",
    "select hex(instance), first, last, closing, told_at, heard_at, '', '' from accounts",
];

type Row = [Option<String>; 8];

/// Reads all rows of the tables. `numbered` says whether the file has the newest schema or schema
/// 10.
async fn rows(connection: &mut SqliteConnection, numbered: bool) -> Vec<(&'static str, Vec<Row>)> {
    let (bodies, of) = if numbered {
        (
            "events as e join bodies as b on b.event = e.number",
            "join events as e on e.number = t.event",
        )
    } else {
        (
            "events as e join events as b using (event_id)",
            "join events as e on e.event_id = t.event_id",
        )
    };
    let mut all = Vec::new();
    for table in TABLES.into_iter().chain(OTHERS) {
        let select = table.replace("{bodies}", bodies).replace("{of}", of);
        let select = sqlx::AssertSqlSafe(select);
        let found = sqlx::query(select).fetch_all(&mut *connection).await;
        let found: Vec<Row> = found
            .unwrap()
            .iter()
            .map(|row| std::array::from_fn(|at| row.try_get_unchecked(at).unwrap()))
            .collect();
        assert!(!found.is_empty(), "the query must return rows: {table}");
        all.push((table, found));
    }
    all
}

/// Creates a file of schema 10 with rows of every kind.
async fn older(world: &World) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(world.path())
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let mut connection = options.connect().await.unwrap();
    migrate_to(&mut connection, BEFORE).await;
    let mut statements = String::from(
        "insert into meta values ('environment', 'test'), ('works_from', '2');
         insert into open_receipts values (x'00000000000000000000000000000001', 'a',
             x'07070707070707070707070707070707', 99, 5);
         insert into starts values ('a', x'00000000000000000000000000000002', 1, 2,
             x'00000000000000000000000000000003', 6, 1, 0);
         insert into accounts values (x'07070707070707070707070707070707', 1, 5, 0, 7, 8);",
    );
    for (n, kind) in EVENTS {
        statements.push_str(EVENT);
        statements.push_str(kind);
        let one = envelope(n);
        let topic = if n == 8 {
            "hookbox.undecodable"
        } else {
            one.topic.as_str()
        };
        for (name, value) in [
            (":add_receipt", RECEIPT.to_owned()),
            (":instance", format!("x'{}'", "07".repeat(16))),
            (":id", format!("x'{}{}'", one.event, "e5".repeat(16))),
            (":receipt", format!("x'{}'", hex(one.receipt.as_bytes()))),
            (
                ":again",
                format!("x'{}'", hex(another_receipt(n, 1).receipt.as_bytes())),
            ),
            (":digest", format!("x'{}'", hex(one.digest.as_bytes()))),
            (":body", format!("x'{}'", hex(&one.body))),
            (":topic", format!("'{topic}'")),
            (":at", one.received_at.unix_micros().to_string()),
            (":n", n.to_string()),
        ] {
            statements = statements.replace(name, &value);
        }
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements))
        .execute(&mut connection)
        .await
        .unwrap();
    connection
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A process that is killed during a migration, or between two of them, must leave the file as it
/// was, and the next process must migrate every row.
#[tokio::test]
async fn every_row_is_kept_and_numbered() {
    let world = World::new();
    let mut connection = older(&world).await;
    let before = rows(&mut connection, false).await;
    connection.close().await.unwrap();
    let to = crate::migrate::newest();
    for killed_after in BEFORE + 1..=to {
        let mut connection = world.meddle().await;
        let mut tx = connection.begin_with("begin immediate").await.unwrap();
        migrate_to(&mut tx, killed_after).await;
        drop(tx);
        connection.close().await.unwrap();
        let mut connection = world.meddle().await;
        assert_eq!(rows(&mut connection, false).await, before, "{killed_after}");
        connection.close().await.unwrap();
    }
    let migrated = migrate(world.options()).await.unwrap();
    assert_eq!(migrated, Migrated { from: BEFORE, to });
    let mut connection = world.meddle().await;
    for (before, after) in before.iter().zip(rows(&mut connection, true).await) {
        assert_eq!(before, &after);
    }
    let broken: Vec<(String,)> = sqlx::query_as("select \"table\" from pragma_foreign_key_check")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(broken, []);
    // The numbers must follow the times at which the events were received.
    let ids: Vec<Vec<u8>> = sqlx::query_scalar("select event_id from events order by number")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let expect: Vec<_> = (1..=8)
        .map(|n| envelope(n).event.as_bytes().to_vec())
        .collect();
    assert_eq!(ids, expect);
    connection.close().await.unwrap();
    works(&world).await;
    world.end().await;
}

/// Checks that the driver recognises the events of the migrated file.
async fn works(world: &World) {
    let store = world.open().await;
    let listed = store.events(&EventFilter::default(), None, 100).await;
    assert_eq!(listed.unwrap().len(), 9);
    for (envelope, claimed) in [
        (another_receipt(1, 5), Claimed::Duplicate),
        (contradicting(1), Claimed::Conflict),
        (envelope(1), Claimed::Redelivered),
        (another_receipt(4, 5), Claimed::Duplicate),
        (another_receipt(6, 5), Claimed::Orphaned),
        (envelope(9), Claimed::Fresh),
    ] {
        assert_eq!(would_claim(&store, "a", &envelope).await, claimed);
    }
    let orphans = store.imbalances(10).await.unwrap();
    assert_eq!(orphans.len(), 1, "{orphans:?}");
    assert_eq!(orphans[0].event, Some(envelope(6).event));
    let due = requeue(&store).await;
    let mut retries: Vec<&Envelope> = due.iter().map(|due| &due.envelope).collect();
    retries.sort_by_key(|retry| retry.received_at);
    let events: Vec<EventId> = retries.iter().map(|retry| retry.event).collect();
    assert_eq!(events, [envelope(3).event, envelope(7).event]);
    assert_eq!(retries[0].body, envelope(3).body);
    assert_eq!(retries[0].seal.as_deref(), Some("seal 3"));
    process(&store, "a", &retries).await;
    process(&store, "a", &[&envelope(9)]).await;
    assert_eq!(store.imbalances(10).await.unwrap().len(), 1);
    let newest = "select number from events order by received_at desc limit 1";
    assert_eq!(world.number(newest).await, 9);
    close(store).await;
}

/// The migration would delete or break objects that a user has created on the tables. So the file
/// must be refused with the name of the object, and must not be changed.
#[tokio::test]
async fn objects_of_the_user_on_the_tables_are_named() {
    for (statement, named) in [
        ("create view mine as select * from Events", "view mine"),
        (
            "create trigger mine after insert on claims begin select 1; end",
            "trigger mine",
        ),
        (
            "create index mine on begini_scores (scored_at)",
            "index mine",
        ),
        (
            "create table mine (event blob references events (event_id))",
            "table mine",
        ),
    ] {
        let world = World::new();
        let mut connection = older(&world).await;
        let before = rows(&mut connection, false).await;
        sqlx::raw_sql("create table theirs (events text); create index other on theirs (events)")
            .execute(&mut connection)
            .await
            .unwrap();
        sqlx::raw_sql(statement)
            .execute(&mut connection)
            .await
            .unwrap();
        let refused = [
            crate::plan(world.options()).await.unwrap_err(),
            migrate(world.options()).await.unwrap_err(),
        ];
        for refused in refused {
            assert!(matches!(refused, OpenError::Refused { .. }), "{refused}");
            let said = refused.to_string();
            assert!(said.contains(named), "{said}");
            assert!(
                !said.contains("other") && !said.contains("theirs"),
                "{said}"
            );
        }
        assert_eq!(rows(&mut connection, false).await, before, "{named}");
        connection.close().await.unwrap();
        world.end().await;
    }
}

/// The statement that inserts the row of an event. It and the statements below are filled with the
/// values of an envelope.
const EVENT: &str = "
insert into events (event_id, source, topic, content_digest, seal, received_at, created_at, body)
values (:id, 'begini', :topic, :digest, 'seal :n', :at, :at + 7, :body);";

/// The beginning of a statement that inserts a receipt; its values follow.
const RECEIPT: &str = "
     insert into receipts (route, receipt_id, event_id, outcome, key_id, instance, number,
                           traceparent, received_at, settled_at, other_digest)
     values";

const UNDECODABLE: &str = "
     insert into claims values ('a', :id, 'dead', 0, :at + 8, :at + 9);
     insert into dead_letters values (9, 'a', :id, 'dead', 'undecodable', 'why :n', 0, :at + 9,
         'group', :at + 9);";

const CONFLICT: &str = "
     insert into claims values ('a', :id, 'dead', 0, :at + 8, :at + 9);
     :add_receipt ('a', :receipt, :id, 'conflict', 'key', :instance, :n, null, :at, :at + 9, null);
     insert into dead_letters values (4, 'a', :id, 'dead', 'conflict', 'why :n', 0, :at + 9,
         'group', :at + 9);";

const DONE: &str = "
     insert into claims values ('a', :id, 'done', 1, :at + 8, :at + 9);
     :add_receipt ('a', :receipt, :id, 'done', 'key', :instance, :n, 'trace', :at, :at + 9, null);
     insert into begini_scores values (:id, '9', 'UID', 'psychometric', 'WEB', 500, 'B', 'HIGH', 1, 2,
         3, '{}');
     insert into begini_score_traits values (:id, 0, 'one', '1', 'B', '{}'),
         (:id, 1, 'two', '2', null, '{}');";

const DONE_TWICE: &str = "
     insert into claims values ('a', :id, 'done', 1, :at + 8, :at + 9);
     insert into claims values ('b', :id, 'done', 1, :at + 8, :at + 9);
     :add_receipt ('a', :receipt, :id, 'done', 'key', :instance, :n, null, :at, :at + 9, null);
     :add_receipt ('b', :receipt, :id, 'done', 'key', :instance, :n, null, :at, :at + 9, null);
     :add_receipt ('a', :again, :id, 'duplicate', 'key', :instance, 1000002, null, :at, :at + 9,
                   :digest);
     insert into begini_applications values (:id, '9', 'UID', 'expired', 1, 2, '{}', '[]', '{}');";

const REPLAYED: &str = "
     insert into claims values ('a', :id, 'retrying', 3, :at + 8, :at + 9);
     :add_receipt ('a', :receipt, :id, 'retrying', 'key', :instance, :n, null, :at, :at + 9, null);
     insert into dead_letters values (5, 'a', :id, 'replayed', 'exhausted', 'why :n', 3, :at + 9,
         'group', :at + 9);
     insert into earlier_deaths values (5, :at + 9, 'exhausted', 'why', 3, :at + 10, 'me');
     insert into retries values ('a', :id, 4, 3, 5, null, null, null, null);";

const RETRYING: &str = "
     insert into claims values ('a', :id, 'retrying', 1, :at + 8, :at + 9);
     :add_receipt ('a', :receipt, :id, 'retrying', 'key', :instance, :n, null, :at, :at + 9, null);
     insert into attempts values ('a', :id, 1, 'transient', 'no', 12, :at + 9);
     insert into retries values ('a', :id, 2, 0, 5, null, 2, 'foreign_lock', :at + 9);";

const ORPHANED: &str = "
     insert into claims values ('a', :id, 'running', 0, :at + 8, null);";

const DEAD: &str = "
     insert into claims values ('a', :id, 'dead', 1, :at + 8, :at + 9);
     :add_receipt ('a', :receipt, :id, 'dead', 'key', :instance, :n, null, :at, :at + 9, null);
     insert into dead_letters values (7, 'a', :id, 'dead', 'rejected', 'why :n', 1, :at + 9,
         'group', :at + 9);
     insert into attempts values ('a', :id, 1, 'permanent', 'never', 13, :at + 9);";
