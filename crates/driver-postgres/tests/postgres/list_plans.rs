//! The statements of the lists that operators read must find their rows by an index. This must hold
//! even at the end of a long list, and in a database that PostgreSQL has not analysed.

use hookbox_driver::{
    AuditFilter, DeadFilter, DeadState, EndCursor, EndsRead, EventCursor, EventFilter, Ledger,
    RefusalCursor, RefusalFilter, ReplayFilter, ReplayPosition, RetryFilter, Store,
};
use hookbox_event::EventNumber;
use hookbox_testkit::eventually::eventually;

use crate::world::{ROUTE, World, route};

/// The number of rows in each table. A list that reads at least this many rows has read the whole
/// table.
const GROWN: i64 = 50_000;

const TABLES: &str = "('events', 'claims', 'attempts', 'dead_letters', 'retries', 'refusals', \
                       'audit', 'ends')";

/// The number of rows in one page of a list.
const PAGE: u32 = 20;

#[tokio::test]
async fn a_page_reads_no_whole_table() {
    for analyzed in [false, true] {
        let world = World::new().await;
        world
            .execute(&format!(
                "insert into events (event_id, source, topic, content_digest, received_at)
                 select substring(sha256(n::text::bytea) from 1 for 16), 's', 's.t',
                        sha256(n::text::bytea), now() - n * interval '1 s'
                 from generate_series(1, {GROWN}) as n;
                 insert into bodies (event, body) select number, '' from events;
                 insert into claims (route, event, state, attempts)
                 select '{ROUTE}', number, 'done', 1 from events;
                 insert into attempts (route, event, attempt, outcome, error, took_ms)
                 select '{ROUTE}', number, 1, 'transient', 'no', 1 from events;
                 insert into dead_letters (route, event, state, reason, detail, attempts,
                                           group_id, died_at, grouped_at)
                 select '{ROUTE}', number, 'dead', 'rejected', 'no', 1, 'aaaaaaaaaaaa', now(),
                        now()
                 from events;
                 insert into retries (route, event, attempt, attempts_before, not_before)
                 select '{ROUTE}', number, 2, 0, received_at + interval '30 days' from events;
                 insert into ends (ended_xid, event, round, attempts, route, outcome)
                 select '0', number, 1, 1, '{ROUTE}', 'done' from events;
                 insert into refusals (request, source, reason, body_bytes, peer, at)
                 select gen_random_uuid(), 's', 'r', 1, 'p', received_at from events;
                 insert into audit (actor, action, subject) select 'a', 'b', 'c' from events"
            ))
            .await;
        if analyzed {
            world.execute("analyze").await;
        }
        counted(&world).await;
        let before = read_whole(&world).await;
        lists(&world).await;
        world.store.close().await;
        // The server adds the row counts of a session to its statistics only after the session has
        // ended, so the test waits for them.
        eventually(
            "the server's statistics must include the reads of all lists",
            || async {
                let query = "select coalesce(max(idx_scan), 0)::bigint from pg_stat_user_tables
                         where relname = 'audit'";
                match world.number(query).await {
                    0 => Err("the statistics do not count the reads of the index yet".to_owned()),
                    _ => Ok(()),
                }
            },
        )
        .await;
        // The lists must read only the rows that they return, and a few more at the start of each
        // list.
        let query = format!(
            "select coalesce(max(idx_tup_fetch), 0)::bigint from pg_stat_user_tables
             where relname in {TABLES}"
        );
        let fetched = world.number(&query).await;
        assert!(
            fetched < 20 * i64::from(PAGE),
            "the lists must read few rows of each table by an index, not {fetched}"
        );
        for ((table, before), (_, after)) in before.iter().zip(read_whole(&world).await) {
            let read = after - before;
            assert!(
                read < GROWN,
                "analyzed {analyzed}: lists must use indexes, but {read} rows of {table} were \
                 read without one"
            );
        }
    }
}

/// Reads one page from the middle of each list.
async fn lists(world: &World) {
    let store = &world.store;
    let events = EventFilter::default();
    let page = store.events(&events, None, PAGE).await.unwrap();
    let after = EventCursor {
        at: hookbox_event::Timestamp::from_unix_micros(
            page[0].received_at.unix_micros() - GROWN / 2 * 1_000_000,
        ),
        event: page[0].event,
        route: page[0].route.clone(),
    };
    let page = store.events(&events, Some(&after), PAGE).await.unwrap();
    assert_eq!(page.len(), 20);
    let narrow = EventFilter {
        since: Some(page[9].received_at),
        until: Some(page[0].received_at),
        error: Some("no".into()),
        ..events
    };
    assert_eq!(store.events(&narrow, None, PAGE).await.unwrap().len(), 9);
    let dead = DeadFilter {
        state: Some(DeadState::Dead),
        ..DeadFilter::default()
    };
    let page = store.dead_list(&dead, GROWN / 2, PAGE).await.unwrap();
    assert_eq!(page.len(), 20);
    let of_group = DeadFilter {
        group: Some("aaaaaaaaaaaa".parse().unwrap()),
        ..dead
    };
    let page = store.dead_list(&of_group, GROWN / 2, PAGE).await.unwrap();
    assert_eq!(page.len(), 20);
    assert_eq!(store.dead_regroup(9).await.unwrap(), 0);
    assert_eq!(store.dead_claims(&[7, 8]).await.unwrap().len(), 2);
    let retries = RetryFilter::default();
    let page = store.retries(&retries, None, PAGE).await.unwrap();
    let after = EventCursor {
        at: page[9].not_before,
        event: page[9].event,
        route: page[9].route.clone(),
    };
    let page = store.retries(&retries, Some(&after), PAGE).await.unwrap();
    assert_eq!(page.len(), 20);
    let refusals = RefusalFilter::default();
    let page = store.refusals(&refusals, None, PAGE).await.unwrap();
    let after = RefusalCursor {
        at: page[9].at,
        request: page[9].request,
    };
    let page = store.refusals(&refusals, Some(&after), PAGE).await.unwrap();
    assert_eq!(page.len(), 20);
    ends(world).await;
    replays(world).await;
    let audit = AuditFilter::default();
    let page = store.audits(&audit, Some(GROWN / 2), PAGE).await.unwrap();
    assert_eq!(page.len(), 20);
}

/// Reads the first page of ends and a page from the middle, by the cursor and in the view.
async fn ends(world: &World) {
    let read = async |after: Option<&EndCursor>| match world.store.ends(after, None, PAGE).await {
        Ok(EndsRead::Page(page)) => page.rows,
        other => panic!("{other:?}"),
    };
    let page = read(None).await;
    assert_eq!(page.len(), 20);
    let middle = EndCursor {
        event: EventNumber::from_i64(GROWN / 2),
        ..page[0].cursor.clone()
    };
    let page = read(Some(&middle)).await;
    assert_eq!(page.len(), 20);
    assert_eq!(page[0].cursor.event.as_i64(), GROWN / 2 + 1);
    assert_eq!(world.store.ends_held_back().await.unwrap(), None);
    let view = format!(
        "select count(*) from (
             select * from hookbox_ends
             where (ended_xid, event, route) > ('0', {}, '{ROUTE}')
             order by ended_xid, event, route limit {PAGE}) as page",
        GROWN / 2
    );
    assert_eq!(world.number(&view).await, 20);
}

/// Counts what a replay would do with the first page of events, and with a page from the middle.
async fn replays(world: &World) {
    let filter = ReplayFilter {
        route: route(ROUTE),
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
    let count = async |after| {
        let choice = world.store.replayable(&filter, after, PAGE).await;
        let page = choice.unwrap().page;
        assert_eq!(page.counts.without_receipt, u64::from(PAGE));
        page.last.unwrap()
    };
    let last = count(None).await;
    let middle = ReplayPosition {
        at: hookbox_event::Timestamp::from_unix_micros(
            last.at.unix_micros() + GROWN / 2 * 1_000_000,
        ),
        number: last.number,
    };
    assert!(count(Some(middle)).await > middle);
}

/// Waits until the server's statistics contain all insertions.
async fn counted(world: &World) {
    let query = format!(
        "select coalesce(min(n_tup_ins), 0)::bigint from pg_stat_user_tables
         where relname in {TABLES}"
    );
    eventually(
        "the server's statistics must contain all insertions",
        || async {
            match world.number(&query).await {
                inserted if inserted >= GROWN => Ok(()),
                inserted => Err(format!("{inserted} rows")),
            }
        },
    )
    .await;
}

/// Returns how many rows of each table the server has read without an index so far.
async fn read_whole(world: &World) -> Vec<(String, i64)> {
    let query = format!(
        "select relname::text, seq_tup_read from pg_stat_user_tables
         where relname in {TABLES} order by relname"
    );
    let mut connection = world.connect().await;
    sqlx::query_as(sqlx::AssertSqlSafe(query))
        .fetch_all(&mut connection)
        .await
        .unwrap()
}
