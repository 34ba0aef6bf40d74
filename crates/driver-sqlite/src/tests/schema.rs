//! The schema that the migrations create must equal the committed file `schemas/sqlite.sql`, and
//! SQLite must use its indexes.

use super::*;

#[tokio::test]
async fn the_dump_equals_the_committed_one() {
    let dump = crate::dump_schema().await.unwrap();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/sqlite.sql");
    if std::env::var_os("UPDATE_SCHEMAS").is_some_and(|update| update == "1") {
        std::fs::write(&committed, &dump).unwrap();
    }
    let committed = std::fs::read_to_string(&committed).unwrap_or_default();
    assert_eq!(
        committed, dump,
        "schemas/sqlite.sql differs from the schema that the migrations create; run this test \
         with UPDATE_SCHEMAS=1 and read the difference"
    );
}

#[tokio::test]
async fn the_hot_statements_use_their_indexes() {
    let world = World::new();
    migrate(world.options()).await.unwrap();
    let mut connection = world.meddle().await;
    for (statement, expect) in [
        (
            "EXPLAIN QUERY PLAN
             UPDATE claims SET state = 'done'
             WHERE route = 'a' AND event_id IN (SELECT unhex(value) FROM json_each('[]'))
               AND state = 'running'",
            "SEARCH claims USING PRIMARY KEY (event_id=? AND route=?)",
        ),
        (
            "EXPLAIN QUERY PLAN
             SELECT e.content_digest, c.state, r.attempt
             FROM json_each('[]') AS wanted
             CROSS JOIN events AS e ON e.event_id = unhex(wanted.value)
             LEFT JOIN claims AS c ON c.route = 'a' AND c.event_id = e.event_id
             LEFT JOIN retries AS r ON r.route = 'a' AND r.event_id = e.event_id",
            "SEARCH c USING PRIMARY KEY (event_id=? AND route=?) LEFT-JOIN",
        ),
        (
            "EXPLAIN QUERY PLAN
             SELECT r.receipt_id FROM json_each('[]') AS wanted
             CROSS JOIN receipts AS r ON r.route = 'a' AND r.receipt_id = unhex(wanted.value)",
            "SEARCH r USING PRIMARY KEY (receipt_id=? AND route=?)",
        ),
        (
            "EXPLAIN QUERY PLAN
             SELECT id FROM messages WHERE queue = 'a' AND lease_until <= 1 ORDER BY id LIMIT 9",
            "SEARCH messages USING INDEX messages_queue (queue=?)",
        ),
        (
            "EXPLAIN QUERY PLAN
             UPDATE messages SET lease_until = 1
             WHERE id IN (SELECT value FROM json_each('[]')) AND taken_by = x''",
            "SEARCH messages USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            "EXPLAIN QUERY PLAN
             SELECT 1 FROM receipts WHERE route = 'a' AND event_id = x''
               AND outcome IN ('retrying', 'dead')",
            "SEARCH receipts USING INDEX receipts_event (event_id=? AND route=?)",
        ),
        (
            "EXPLAIN QUERY PLAN
             SELECT r.number FROM claims AS c
             CROSS JOIN receipts AS r ON r.route = c.route AND r.event_id = c.event_id
             WHERE c.event_id = x''",
            "SEARCH c USING PRIMARY KEY (event_id=?)",
        ),
        (
            "EXPLAIN QUERY PLAN
             UPDATE dead_letters SET state = 'dead' WHERE route = 'a' AND event_id = x''",
            "SEARCH dead_letters USING INDEX sqlite_autoindex_dead_letters_1 \
             (event_id=? AND route=?)",
        ),
    ] {
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(statement)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let steps: Vec<&str> = plan.iter().map(|step| step.3.as_str()).collect();
        assert!(steps.contains(&expect), "{statement}: {steps:?}");
    }
    connection.close().await.unwrap();
    world.end().await;
}

/// SQLite must read a page in the middle of each list along an index, and must not read or sort the
/// whole table.
#[tokio::test]
async fn a_page_reads_no_whole_table() {
    use hookbox_driver::{EventCursor, EventFilter, RefusalCursor, RefusalFilter, RetryFilter};

    let world = World::new();
    migrate(world.options()).await.unwrap();
    let mut connection = world.meddle().await;
    let after = EventCursor {
        at: envelope(1).received_at,
        event: envelope(1).event,
        route: route("a"),
    };
    let refused = RefusalCursor {
        at: envelope(1).received_at,
        request: envelope(1).receipt,
    };
    let events = EventFilter {
        error: Some("no".into()),
        ..EventFilter::default()
    };
    let retries = RetryFilter::default();
    let refusals = RefusalFilter::default();
    for (select, expect) in [
        (
            crate::event_list::select(&events, Some(&after), 9),
            "SEARCH e USING INDEX events_received_at (received_at<?)",
        ),
        (
            crate::event_list::select(&events, None, 9),
            "SCAN e USING INDEX events_received_at",
        ),
        (
            crate::retry_list::select(&retries, Some(&after), 9),
            "SEARCH w USING INDEX retries_not_before (not_before>?)",
        ),
        (
            crate::refusals::select(&refusals, Some(&refused), 9),
            "SEARCH refusals USING INDEX refusals_at ((at,request)<(?,?))",
        ),
    ] {
        let statement = format!("EXPLAIN QUERY PLAN {}", select.sql().as_str());
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let steps: Vec<&str> = plan.iter().map(|step| step.3.as_str()).collect();
        assert!(steps.contains(&expect), "{steps:?}");
        let sorts_all = |step: &&str| step.ends_with("FOR ORDER BY");
        assert!(!steps.iter().any(sorts_all), "{steps:?}");
        let scans = |step: &&str| step.starts_with("SCAN") && !step.contains("USING INDEX");
        assert!(!steps.iter().any(scans), "{steps:?}");
    }
    connection.close().await.unwrap();
    world.end().await;
}
