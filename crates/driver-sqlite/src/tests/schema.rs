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
            "explain query plan
             update claims set state = 'done'
             where route = 'a' and event in (select value from json_each('[]'))
               and state = 'running'",
            "SEARCH claims USING PRIMARY KEY (event=? AND route=?)",
        ),
        (
            "explain query plan
             select e.content_digest, c.state, r.attempt
             from json_each('[]') as wanted
             cross join events as e on e.event_id = unhex(wanted.value)
             left join claims as c on c.route = 'a' and c.event = e.number
             left join retries as r on r.route = 'a' and r.event = e.number",
            "SEARCH c USING PRIMARY KEY (event=? AND route=?) LEFT-JOIN",
        ),
        (
            "explain query plan
             select r.receipt_id from json_each('[]') as wanted
             cross join receipts as r on r.route = 'a' and r.receipt_id = unhex(wanted.value)",
            "SEARCH r USING PRIMARY KEY (receipt_id=? AND route=?)",
        ),
        (
            "explain query plan
             select id from messages where queue = 'a' and lease_until <= 1 order by id limit 9",
            "SEARCH messages USING INDEX messages_queue (queue=?)",
        ),
        (
            "explain query plan
             update messages set lease_until = 1
             where id in (select value from json_each('[]')) and taken_by = x''",
            "SEARCH messages USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            "explain query plan
             select 1 from receipts where route = 'a' and event = 1
               and outcome in ('retrying', 'dead')",
            "SEARCH receipts USING INDEX receipts_event (event=? AND route=?)",
        ),
        (
            "explain query plan
             select r.number from claims as c
             cross join receipts as r on r.route = c.route and r.event = c.event
             where c.event = 1",
            "SEARCH c USING PRIMARY KEY (event=?)",
        ),
        (
            "explain query plan
             update dead_letters set state = 'dead' where route = 'a' and event = 1",
            "SEARCH dead_letters USING INDEX sqlite_autoindex_dead_letters_1 \
             (event=? AND route=?)",
        ),
    ] {
        let steps = plan(&mut connection, statement).await;
        let found = steps.iter().any(|step| step == expect);
        assert!(found, "{statement}: {steps:?}");
    }
    connection.close().await.unwrap();
    world.end().await;
}

/// Statements that change a list of rows must find each row by its key (`SEARCH` in the query plan,
/// not `SCAN`), however long the list is.
#[tokio::test]
async fn the_statements_for_a_list_search_each_row_by_its_key() {
    let world = World::new();
    migrate(world.options()).await.unwrap();
    let mut connection = world.meddle().await;
    for (statement, expect) in [
        (
            crate::retries::MARK_QUEUED,
            "SEARCH retries USING PRIMARY KEY (event=? AND route=?)",
        ),
        (
            crate::retry_list::HURRY,
            "SEARCH retries USING PRIMARY KEY (event=? AND route=?)",
        ),
        (
            crate::claim_states::LOOK_UP,
            "SEARCH ended USING INDEX receipts_event (event=? AND route=?)",
        ),
        (
            crate::claims::COUNT_INSERTED,
            "SEARCH claims USING PRIMARY KEY (event=? AND route=?)",
        ),
        (
            crate::dead_groups::REGROUP,
            "SEARCH dead_letters USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            crate::claims::REVIVE,
            "SEARCH claims USING PRIMARY KEY (event=? AND route=?)",
        ),
        (
            crate::receipts::REVIVE,
            "SEARCH receipts USING INDEX receipts_event (event=? AND route=?)",
        ),
        (
            crate::receipts::UPDATE_OUTCOME,
            "SEARCH receipts USING INDEX receipts_event (event=? AND route=?)",
        ),
        (
            crate::newest::STATES,
            "SEARCH newest USING PRIMARY KEY (route=? AND key=?)",
        ),
        (
            crate::starts::FORGET,
            "SEARCH starts USING PRIMARY KEY (receipt_id=? AND attempt=? AND route=?)",
        ),
    ] {
        check_list(&mut connection, statement, expect).await;
    }
    connection.close().await.unwrap();
    world.end().await;
}

/// The statements of leases must search each row by its key as well.
#[tokio::test]
async fn the_statements_of_leases_search_each_row_by_its_key() {
    let world = World::new();
    migrate(world.options()).await.unwrap();
    let mut connection = world.meddle().await;
    for (statement, expect) in [
        (
            crate::leases::STORED,
            "SEARCH w USING PRIMARY KEY (event=? AND route=?)",
        ),
        (
            crate::leases::IN_FLIGHT,
            "SEARCH retries USING INDEX retries_target (target=? AND not_before>?)",
        ),
        (
            crate::leases::GIVE,
            "SEARCH claims USING PRIMARY KEY (event=? AND route=?)",
        ),
        (
            crate::leases::END_DONE,
            "SEARCH claims USING PRIMARY KEY (event=? AND route=?)",
        ),
        (
            crate::leases::END_DEFERRED,
            "SEARCH retries USING PRIMARY KEY (event=? AND route=?)",
        ),
    ] {
        check_list(&mut connection, statement, expect).await;
    }
    connection.close().await.unwrap();
    world.end().await;
}

/// SQLite must find a page of ends by an index of their positions, and the event of each end by the
/// number of the event, both in the query of `events follow` and in the view `hookbox_ends`.
#[tokio::test]
async fn ends_are_read_along_their_positions() {
    let world = World::new();
    migrate(world.options()).await.unwrap();
    let mut connection = world.meddle().await;
    let select = crate::ends::select(None, Some(&route("a")), 9);
    let view = "select * from hookbox_ends where position > 7 order by position limit 9";
    for statement in [select.sql().as_str(), view] {
        let steps = plan(&mut connection, &format!("explain query plan {statement}")).await;
        let position = "SEARCH ends USING INTEGER PRIMARY KEY (rowid>?)";
        assert!(steps.iter().any(|step| step == position), "{steps:?}");
        let event = |step: &String| {
            step.starts_with("SEARCH e") && step.contains("USING INTEGER PRIMARY KEY (rowid=?)")
        };
        assert!(steps.iter().any(event), "{steps:?}");
    }
    let change = format!("explain query plan {}", crate::ends::INSERT_CHANGED);
    let steps = plan(&mut connection, &change).await;
    for expect in [
        "SEARCH d USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH e USING PRIMARY KEY (dead_letter=?)",
    ] {
        assert!(steps.iter().any(|step| step == expect), "{steps:?}");
    }
    connection.close().await.unwrap();
    world.end().await;
}

/// Checks that the plan of a statement has this step, and that the statement reads no whole table.
async fn check_list(connection: &mut SqliteConnection, statement: &str, expect: &str) {
    let steps = plan(connection, &format!("explain query plan {statement}")).await;
    let found = steps.iter().any(|step| step == expect);
    assert!(found, "{statement}: {steps:?}");
    let of_table = |step: &&String| step.starts_with("SCAN") && !step.contains("VIRTUAL TABLE");
    assert_eq!(steps.iter().find(of_table), None, "{statement}");
}

#[tokio::test]
async fn the_list_of_targets_counts_calls_along_their_index() {
    let world = World::new();
    migrate(world.options()).await.unwrap();
    let mut connection = world.meddle().await;
    let statement = format!("explain query plan {}", crate::targets::LIST);
    let steps = plan(&mut connection, &statement).await;
    let expect = "SEARCH retries USING INDEX retries_target (target=? AND not_before>?)";
    assert!(steps.iter().any(|step| step == expect), "{steps:?}");
    connection.close().await.unwrap();
    world.end().await;
}

/// Returns the steps of SQLite's plan for a statement, which must begin with `explain query plan`.
async fn plan(connection: &mut SqliteConnection, statement: &str) -> Vec<String> {
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    let steps: Vec<(i64, i64, i64, String)> = sqlx::query_as(statement)
        .fetch_all(connection)
        .await
        .unwrap();
    steps.into_iter().map(|step| step.3).collect()
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
        let statement = format!("explain query plan {}", select.sql().as_str());
        let steps = plan(&mut connection, &statement).await;
        assert!(steps.iter().any(|step| step == expect), "{steps:?}");
        let sorts_all = |step: &String| step.ends_with("FOR ORDER BY");
        assert!(!steps.iter().any(sorts_all), "{steps:?}");
        let scans = |step: &String| step.starts_with("SCAN") && !step.contains("USING INDEX");
        assert!(!steps.iter().any(scans), "{steps:?}");
    }
    connection.close().await.unwrap();
    world.end().await;
}

/// Events to be replayed must be read along the index of their times of receipt.
#[tokio::test]
async fn events_to_replay_are_read_along_their_times() {
    use hookbox_driver::{ReplayFilter, ReplayPosition};

    let world = World::new();
    migrate(world.options()).await.unwrap();
    let mut connection = world.meddle().await;
    let filter = ReplayFilter {
        route: route("a"),
        topics: Vec::new(),
        conditions: Vec::new(),
        again: true,
        events: Vec::new(),
        numbers: Vec::new(),
        source: None,
        topic: None,
        since: None,
        until: None,
    };
    let after = ReplayPosition {
        at: envelope(1).received_at,
        number: hookbox_event::EventNumber::from_i64(7),
    };
    for (after, expect) in [
        (None, "SCAN e USING INDEX events_received_at"),
        (Some(after), "SEARCH e USING INDEX events_received_at"),
    ] {
        let select = crate::event_replay::select(&filter, after, 9);
        let statement = format!("explain query plan {}", select.sql().as_str());
        let steps = plan(&mut connection, &statement).await;
        for expect in [
            expect,
            "SEARCH c USING PRIMARY KEY (event=? AND route=?)",
            "SEARCH r USING INDEX receipts_event (event=?)",
        ] {
            let found = steps.iter().any(|step| step.starts_with(expect));
            assert!(found, "{expect}: {steps:?}");
        }
        let sorts_all = |step: &String| step.ends_with("FOR ORDER BY");
        assert!(!steps.iter().any(sorts_all), "{steps:?}");
    }
    connection.close().await.unwrap();
    world.end().await;
}
