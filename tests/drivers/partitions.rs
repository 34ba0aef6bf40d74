//! Tests that the large tables of the PostgreSQL store can become partitioned tables without
//! rewriting a row. The store must also keep its promises when these tables are partitioned.
//! hookbox does not partition its tables today, so the tests do it.

mod convert;

use bytes::Bytes;
use hookbox_conformance::store::{NOW, failure};
use hookbox_conformance::{StoreHarness, envelope, with_receipt};
use hookbox_driver::{Claimed, Ledger, Outcome, ReceiptOutcome, Recorded, Store};
use hookbox_driver_postgres::Postgres;
use hookbox_event::{ContentDigest, Digester, Envelope, ReceiptId, Redo};
use hookbox_handlers::Begini;
use hookbox_tests::postgres::PostgresWorld;
use hookbox_worker::Handler;
use sqlx::{AssertSqlSafe, Connection};

use self::convert::{Boundary, LARGE, drop_first, partition};
use crate::claimed_event::event_of;
use crate::probe::route;
use crate::servers::InPostgres;

/// The number of rows that [`fill`] adds to each of the large tables.
const FILLED: [i64; 7] = [2, 2, 2, 1, 1, 1, 2];

/// A query that returns the files of a table, of its indexes, and of its large values.
const FILES: &str = "
    select format('%s in file %s', c.oid, pg_relation_filenode(c.oid))
    from pg_class t
    join pg_class c on c.oid = t.oid
                    or c.oid = t.reltoastrelid
                    or c.oid in (select indexrelid from pg_index where indrelid = t.oid)
    where t.oid = $1::text::regclass
    order by c.oid";

/// Makes one test of each named promise of a store. Each test has a new store with partitioned
/// large tables. The first partitions get the rows of the first event and the first receipts of all
/// events. The second partitions get all other rows.
macro_rules! over_partitions {
    ($($case:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let world = InPostgres::new().await;
                let boundary = Boundary {
                    event: 2,
                    receipt: second_receipts(),
                };
                partition(world.database(), &boundary).await;
                hookbox_conformance::store::$case(&world).await;
                world.finish().await;
            }
        )+
    };
}

over_partitions!(
    the_first_claim_is_fresh,
    the_second_is_a_duplicate,
    another_body_is_a_conflict,
    another_body_is_a_duplicate_where_the_id_decides,
    another_body_is_kept_with_a_failure,
    another_body_is_kept_with_a_deferral,
    a_stored_event_is_its_first_body,
    the_same_receipt_again_is_redelivered,
    claims_are_per_route,
    a_retry_without_a_claim_whose_body_is_not_the_stored_one_is_a_conflict,
    an_event_that_was_stored_before_is_claimed_as_new,
    later_events_have_higher_numbers,
    a_rollback_frees_the_claim,
    effects_and_claim_appear_together,
    opposite_orders_do_not_deadlock,
    a_withdrawn_event_is_fresh_after_the_commit,
    a_handler_that_ends_the_transaction_is_detected,
    an_orphan_outlives_its_process,
    a_failed_attempt_and_its_retry_appear_together,
    a_failed_attempt_and_its_dead_letter_appear_together,
    a_failure_recorded_twice_counts_once,
    undecodable_bytes_are_kept_once,
    undecodable_bytes_have_an_end,
    a_retry_published_twice_is_granted_once,
    a_replayed_dead_letter_is_granted_again,
    a_done_event_is_replayed_in_a_new_round,
    a_route_is_fed_events_that_it_never_had,
    a_route_is_fed_what_its_conditions_select,
    a_replay_takes_what_its_filter_selects,
    a_call_that_is_done_ends_its_event_once,
    a_failed_call_and_its_dead_letter_appear_together,
    the_accounting_balances,
    reported_receipts_without_an_outcome_are_listed,
    an_ingest_with_unreported_receipts_is_listed,
    one_number_of_two_receipts_is_an_imbalance,
    a_receipt_leads_to_its_event,
    a_list_is_read_page_by_page,
    ends_are_read_in_the_order_of_commits,
    a_dead_letter_ends_again,
    only_what_ended_has_an_end,
    ends_of_one_route_are_read_past_others,
    workers_at_once_are_read_along_completely,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_tables_become_partitioned_without_rewriting() {
    let world = PostgresWorld::new().await;
    let store = world.open().await;
    fill(&store, ["a", "b"], 1).await;
    let before = files(&world, "").await;
    partition(&world, &above_all(&world).await).await;
    // A table or an index that had been copied would have another file. A partition would have a
    // second index if its index had not become a part of the index of the partitioned table.
    assert_eq!(files(&world, "_first").await, before);
    assert_eq!(rows(&world, "_first").await, FILLED);
    assert_eq!(rows(&world, "_second").await, [0; 7]);
    assert_eq!(rows(&world, "").await, FILLED);
    // No foreign key may refer to a large table. It would still refer to the renamed table, which
    // is now only a partition.
    let references = "select count(*) from pg_constraint
                      join pg_inherits on inhrelid = confrelid where contype = 'f'";
    assert_eq!(world.count_all(references).await, 0);
    Store::close(&store).await;
    world.finish().await;
}

/// The store stays open while its tables are partitioned, and while partitions are dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_is_one_after_the_rows_of_its_event_are_dropped() {
    let world = PostgresWorld::new().await;
    let store = world.open().await;
    fill(&store, ["a", "b"], 1).await;
    let boundary = above_all(&world).await;
    partition(&world, &boundary).await;
    let [again, _] = events(["a", "b"], 2);
    assert_eq!(process(&store, &again).await, Claimed::Duplicate);
    fill(&store, ["c", "d"], 2).await;
    assert_eq!(rows(&world, "_first").await, FILLED);
    assert_eq!(rows(&world, "_second").await, [2, 2, 2, 1, 1, 1, 3]);
    assert_eq!(store.imbalances(10).await.unwrap(), []);

    drop_first(&world, &boundary).await;
    for envelope in events(["a", "b"], 3).iter().chain(&events(["c", "d"], 3)) {
        assert_eq!(process(&store, envelope).await, Claimed::Duplicate);
    }
    // The row with the outcome of this receipt was dropped, so the receipt gets an outcome again.
    let [first, _] = events(["a", "b"], 1);
    assert_eq!(process(&store, &first).await, Claimed::Duplicate);
    assert_eq!(process(&store, &first).await, Claimed::Redelivered);
    assert_eq!(rows(&world, "_rest").await, [0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(rows(&world, "_second").await, [2, 2, 2, 1, 1, 1, 7]);
    fill(&store, ["e", "f"], 2).await;
    assert_eq!(rows(&world, "_second").await, [4, 4, 4, 2, 2, 2, 9]);
    Store::close(&store).await;
    world.finish().await;
}

/// Processes two events, a score and an application. The first attempt of the score fails, so that
/// each of the large tables gets rows.
async fn fill(store: &Postgres, names: [&str; 2], receipt: u8) {
    let [score, application] = events(names, receipt);
    let route = route();
    let failure = failure(&route, &score, 1, NOW);
    assert_eq!(store.fail(&failure).await.unwrap(), Recorded::Recorded);
    let retry = Envelope {
        redo: Some(Redo { attempt: 2 }),
        ..score
    };
    let granted = Claimed::Granted {
        attempt: 2,
        attempts_before: 0,
    };
    assert_eq!(process(store, &retry).await, granted);
    assert_eq!(process(store, &application).await, Claimed::Fresh);
}

/// Builds one receipt of each of two Begini events, a score and an application. `receipt` is the
/// number of the receipt among those of its event.
fn events(names: [&str; 2], receipt: u8) -> [Envelope; 2] {
    let details = [
        r#""psychometric_score.complete","details":{"scored_at":1,
        "calculated":{"score":700,"traits":[{"key":"k","value":"v"}]}}"#,
        r#""application.expired","details":{"application_expired_at":1,"percent_x":"0.5"}"#,
    ];
    [0, 1].map(|at| {
        let body = format!(
            r#"{{"uid":"u","integration_id":"i","event":{{"type":{}}}}}"#,
            details[at]
        );
        let body = Bytes::from(body);
        Envelope {
            digest: ContentDigest::of_canonical_json(&Digester::Plain, &body),
            body,
            ..with_receipt(names[at], receipt)
        }
    })
}

/// Does what a worker does with a receipt: claims its event, runs the handler unless the event is a
/// duplicate, settles, and commits.
async fn process(store: &Postgres, envelope: &Envelope) -> Claimed {
    let route = route();
    let mut tx = store.begin().await.unwrap();
    let claimed = store.claim(&mut tx, &route, &[envelope]).await.unwrap()[0];
    let attempt = match claimed {
        Claimed::Fresh => Some(1),
        Claimed::Granted { attempt, .. } => Some(attempt),
        Claimed::Duplicate => None,
        Claimed::Redelivered | Claimed::Conflict | Claimed::Orphaned => {
            store.rollback(tx).await;
            return claimed;
        }
    };
    if let Some(attempt) = attempt {
        let number = store.number(&tx, &route, &envelope.event).unwrap();
        let event = event_of(envelope, number, attempt);
        let connection = store.connection(&mut tx);
        let handled = Handler::<Postgres>::handle(&Begini, &event, connection).await;
        handled.unwrap();
    }
    let settled = [ReceiptOutcome {
        envelope,
        outcome: attempt.map_or(Outcome::Duplicate, |attempt| Outcome::Done { attempt }),
        other_digest: None,
    }];
    store.settle(&mut tx, &route, &settled).await.unwrap();
    store.commit(tx).await.unwrap();
    claimed
}

/// Returns a boundary above everything that is stored. Call it while no event has a second receipt.
async fn above_all(world: &PostgresWorld) -> Boundary {
    let next = "select coalesce(max(number), 0) + 1 from events";
    Boundary {
        event: world.count_all(next).await,
        receipt: second_receipts(),
    }
}

/// Returns a receipt id above the ids of all first receipts, and not above those of the second
/// ones. The id of a receipt begins with a time, which is the same for all. The receipt's number
/// follows.
fn second_receipts() -> ReceiptId {
    ReceiptId::new(envelope("a").received_at, [2, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// Returns how many rows each of the large tables has, or its partition with this suffix.
async fn rows(world: &PostgresWorld, suffix: &str) -> Vec<i64> {
    let mut connection = world.connect().await;
    let mut found = Vec::new();
    for (table, _) in LARGE {
        let count = AssertSqlSafe(format!("select count(*) from {table}{suffix}"));
        let count: i64 = sqlx::query_scalar(count)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        found.push(count);
    }
    connection.close().await.unwrap();
    found
}

/// Returns the files of the large tables, or of their partitions with this suffix.
async fn files(world: &PostgresWorld, suffix: &str) -> Vec<String> {
    let mut connection = world.connect().await;
    let mut found = Vec::new();
    for (table, _) in LARGE {
        let files: Vec<String> = sqlx::query_scalar(FILES)
            .bind(format!("{table}{suffix}"))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        found.extend(files);
    }
    connection.close().await.unwrap();
    found
}
