//! Tests the ends of events in files that were migrated, and in a file that was restored.

use hookbox_driver::{CursorRefusal, EndCursor, EndOutcome, EndsPage, EndsRead, Ledger};

use super::*;
use crate::migrate::migrate_to;

/// The version of a schema that does not have the table `ends` yet.
const WITHOUT_ENDS: i64 = 15;

/// Events 1 to 6 are done, orphaned, retrying, dead, discarded after a replay, and done on the
/// second route after a replay.
const ROWS: &str = "
    insert into meta values ('environment', 'test');
    insert into events (number, event_id, source, topic, content_digest, received_at, created_at)
    select value, randomblob(16), 's', 's.t', randomblob(32), 1, 1 from json_each('[1,2,3,4,5,6]');
    insert into claims (route, event, state, attempts, claimed_at, settled_at)
    values ('one', 1, 'done', 1, 5, 6), ('one', 2, 'done', 1, 5, 6),
           ('one', 3, 'retrying', 1, 5, 6), ('one', 4, 'dead', 2, 5, 7),
           ('one', 5, 'dead', 4, 5, null), ('two', 6, 'done', 3, 5, 8);
    insert into receipts (receipt_id, route, event, outcome, key_id, instance, number, received_at,
                          settled_at)
    select randomblob(16), route, event, state, 'k', randomblob(16), event, 1, 1
    from claims where event <> 2;
    insert into dead_letters (id, event, route, state, reason, detail, attempts, died_at)
    values (1, 4, 'one', 'dead', 'rejected', 'no', 2, 1),
           (2, 5, 'one', 'discarded', 'rejected', 'no', 4, 1),
           (3, 6, 'two', 'replayed', 'rejected', 'no', 2, 1);
    insert into earlier_deaths (dead_letter, died_at, reason, detail, attempts, replayed_at,
                                replayed_by)
    values (2, 1, 'rejected', 'no', 2, 1, 'ada'), (3, 1, 'rejected', 'no', 2, 1, 'ada');";

async fn page(store: &Sqlite, after: Option<&EndCursor>) -> EndsPage {
    match store.ends(after, None, 100).await.unwrap() {
        EndsRead::Page(page) => page,
        EndsRead::Refused(refusal) => panic!("{refusal}"),
    }
}

#[tokio::test]
async fn what_had_ended_before_the_migration_is_read_first() {
    let world = World::new();
    let options = SqliteConnectOptions::new()
        .filename(world.path())
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let mut connection = options.connect().await.unwrap();
    migrate_to(&mut connection, WITHOUT_ENDS).await;
    sqlx::raw_sql(ROWS).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let store = world.open().await;
    let page = page(&store, None).await;
    let found: Vec<_> = page
        .rows
        .iter()
        .map(|row| {
            (
                row.cursor.event.as_i64(),
                row.outcome,
                row.round,
                row.attempts,
            )
        })
        .collect();
    let expect = [
        (1, EndOutcome::Done, 1, 1),
        (4, EndOutcome::Dead, 1, 2),
        (5, EndOutcome::Discarded, 3, 4),
        (6, EndOutcome::Done, 3, 3),
    ];
    assert_eq!(found, expect);
    let times: Vec<i64> = page
        .rows
        .iter()
        .map(|row| row.cursor.at.unix_micros())
        .collect();
    assert_eq!(times, [6, 7, 5, 8]);
    close(store).await;
    world.end().await;
}

/// In a file that is restored from an older copy, the next ends get positions that the lost ends
/// had. A reader that has read a lost end must be refused, and no other reader.
#[tokio::test]
async fn a_reader_of_what_a_restored_file_lacks_is_refused() {
    let world = World::new();
    let store = world.open().await;
    process(&store, "a", &[&envelope(1)]).await;
    close(store).await;
    let copy = world.folder.join("copy");
    std::fs::copy(world.path(), &copy).unwrap();
    let store = world.open().await;
    process(&store, "a", &[&envelope(2)]).await;
    let read = page(&store, None).await.rows;
    close(store).await;
    std::fs::copy(&copy, world.path()).unwrap();
    std::fs::remove_file(copy).unwrap();
    let store = world.open().await;
    process(&store, "a", &[&envelope(3)]).await;
    let rest = page(&store, Some(&read[0].cursor)).await.rows;
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].event, envelope(3).event);
    assert_eq!(rest[0].cursor.position, read[1].cursor.position);
    let refused = store.ends(Some(&read[1].cursor), None, 1).await.unwrap();
    assert_eq!(refused, EndsRead::Refused(CursorRefusal::Gone));
    close(store).await;
    world.end().await;
}
