//! Tests statements that fail, wait or end the transaction, and tables that change while a worker
//! runs.

use std::time::Duration;

use hookbox_conformance::{BrokerHarness, StoreHarness, envelope};
use hookbox_driver::DeadReason;
use hookbox_testkit::eventually::eventually;
use sqlx::Connection;

use super::{NAME, TIME_LIMIT, UserDatabase, event, failures, handler, on_postgres, reasons};
use crate::probe::Pair;
use crate::whole::settled;

both_databases!(
    a_statement_that_fails_half_way_leaves_nothing,
    a_batch_that_fails_is_halved_until_the_event_is_found,
    a_row_before_the_one_that_it_refers_to_is_tried_again,
    a_class_can_be_set,
    a_statement_that_takes_too_long_is_ended,
    a_table_that_is_dropped_pauses_the_route,
);

/// The parameters of the events of these tests: their name and a number.
const PARAMETERS: &str = r#""parameters":{"name":{"pointer":"/event","type":"text"},
    "n":{"pointer":"/n","type":"bigint"}}"#;

const NUMBERS: &str = "create table numbers (n bigint not null check (n > 0))";

fn numbered(name: &str, number: i64) -> hookbox_event::Envelope {
    event(name, &format!(r#""n":{number}"#))
}

/// Checks that the event `bad` is a dead letter after one attempt. The other events must have no
/// failed attempt, and only they must have an effect.
async fn only_bad_has_failed<B, S>(pair: &Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    assert_eq!(reasons(pair).await, [DeadReason::Rejected]);
    let failed = failures(pair, "bad").await;
    let [(outcome, error)] = &failed[..] else {
        panic!("one attempt must have failed: {failed:?}");
    };
    assert_eq!(outcome, "permanent");
    let code = S::choose("(SQLSTATE 23514)", "(result code 275)");
    let place = "statements.text, line 2, column 1 ";
    assert!(error.contains(code) && error.contains(place), "{error}");
    assert!(!error.contains("error returned from database"), "{error}");
    for name in ["good-1", "good-2"] {
        assert_eq!(failures(pair, name).await, [], "{name}");
        assert_eq!(pair.stores.effects(name).await, 1, "{name}");
    }
    assert_eq!(pair.stores.effects("bad").await, 0);
}

async fn a_statement_that_fails_half_way_leaves_nothing<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    pair.stores.execute(NUMBERS).await;
    let text = "insert into effects (key) values (:name);\ninsert into numbers values (:n)";
    let events = [
        numbered("good-1", 1),
        numbered("bad", 0),
        numbered("good-2", 2),
    ];
    pair.publish(&events).await;
    let worker = pair.work_with(handler::<S>(text, PARAMETERS), TIME_LIMIT);
    settled(&pair, |books| books.receipts() == 3).await;
    worker.stop().await;
    only_bad_has_failed(&pair).await;
    pair.finish().await;
}

async fn a_batch_that_fails_is_halved_until_the_event_is_found<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    pair.stores.execute(NUMBERS).await;
    let text = S::choose(
        "insert into effects (key) select unnest(:name);\ninsert into numbers select unnest(:n)",
        "insert into effects (key) select value from json_each(:name);\n\
         insert into numbers select value from json_each(:n)",
    );
    let events = [
        numbered("good-1", 1),
        numbered("bad", 0),
        numbered("good-2", 2),
    ];
    pair.publish(&events).await;
    let others = format!(r#"{PARAMETERS},"batch":true"#);
    let worker = pair.work_with(handler::<S>(text, &others), TIME_LIMIT);
    settled(&pair, |books| books.receipts() == 3).await;
    worker.stop().await;
    only_bad_has_failed(&pair).await;
    pair.finish().await;
}

async fn a_row_before_the_one_that_it_refers_to_is_tried_again<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    let tables = "create table parents (name text primary key);
        create table children (parent text not null references parents)";
    pair.stores.execute(tables).await;
    let text = "insert into children values (:name)";
    let worker = pair.work_with(handler::<S>(text, NAME), TIME_LIMIT);
    pair.publish(&[envelope("child")]).await;
    settled(&pair, |books| books.dead == 1).await;
    worker.stop().await;
    assert_eq!(reasons(&pair).await, [DeadReason::Exhausted]);
    let failed = failures(&pair, "child").await;
    let outcomes: Vec<&str> = failed.iter().map(|(outcome, _)| outcome.as_str()).collect();
    assert_eq!(outcomes, ["transient", "transient"], "{failed:?}");
    pair.finish().await;
}

async fn a_class_can_be_set<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    pair.stores.execute(NUMBERS).await;
    let text = "insert into numbers values (:n)";
    let code = S::choose("23514", "275");
    let parameter = r#""parameters":{"n":{"pointer":"/n","type":"bigint"}}"#;
    let others = format!(r#"{parameter},"errors":{{"transient":["{code}"]}}"#);
    let worker = pair.work_with(handler::<S>(text, &others), TIME_LIMIT);
    pair.publish(&[numbered("bad", 0)]).await;
    settled(&pair, |books| books.dead == 1).await;
    worker.stop().await;
    assert_eq!(reasons(&pair).await, [DeadReason::Exhausted]);
    pair.finish().await;
}

async fn a_statement_that_takes_too_long_is_ended<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    let slow = S::choose(
        "select pg_sleep(600) where :name = 'slow'",
        "with recursive endless (n) as (select 1 union all
             select n + 1 from endless where :name = 'slow') select count(*) from endless",
    );
    let text = format!("insert into effects (key) values (:name); {slow}");
    let worker = pair.work_with(handler::<S>(&text, NAME), Duration::from_secs(2));
    pair.publish(&[envelope("a"), envelope("slow"), envelope("b")])
        .await;
    let books = settled(&pair, |books| books.done + books.dead == 3).await;
    worker.stop().await;
    assert_eq!((books.done, books.dead), (2, 1));
    let failed = failures(&pair, "slow").await;
    let outcomes: Vec<&str> = failed.iter().map(|(outcome, _)| outcome.as_str()).collect();
    assert_eq!(outcomes, ["timed_out", "timed_out"], "{failed:?}");
    for (name, effects) in [("a", 1), ("slow", 0), ("b", 1)] {
        assert_eq!(pair.stores.effects(name).await, effects, "{name}");
    }
    pair.finish().await;
}

async fn a_table_that_is_dropped_pauses_the_route<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    pair.stores.execute("create table own (name text)").await;
    let text = "insert into effects (key) values (:name); insert into own values (:name)";
    let worker = pair.work_with(handler::<S>(text, NAME), TIME_LIMIT);
    pair.publish(&[envelope("before")]).await;
    settled(&pair, |books| books.done == 1).await;
    pair.stores.execute("drop table own").await;
    let names = ["a", "b", "c", "d"];
    pair.publish(&names.map(envelope)).await;
    settled(&pair, |books| books.retrying >= 3).await;
    let route = worker.counters.routes.values().next().unwrap();
    eventually("the route must be paused", async || {
        route.missing_right().is_some()
    })
    .await;
    let missing = route.missing_right().unwrap();
    let expected = S::choose(
        "statements.text, line 1, column 55 (SQLSTATE 42P01): the database says: relation \"own\" \
         does not exist; correct the statement",
        "statements.text, line 1, column 43 (result code 1): the database says: no such table: \
         own; correct the statement",
    );
    assert!(missing.starts_with(expected), "{missing}");
    pair.stores.execute("create table own (name text)").await;
    settled(&pair, |books| books.done == 5).await;
    worker.stop().await;
    for name in names {
        assert_eq!(failures(&pair, name).await, [], "{name}");
        assert_eq!(pair.stores.effects(name).await, 1, "{name}");
    }
    pair.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_waits_for_a_lock_costs_no_attempt() {
    let (brokers, stores) = on_postgres().await;
    let pair = Pair::open(brokers, stores).await;
    let tables = "create table totals (n bigint); insert into totals values (0)";
    pair.stores.execute(tables).await;
    let mut other = pair.stores.database().connect().await;
    for statement in ["begin", "update totals set n = 100"] {
        sqlx::raw_sql(statement).execute(&mut other).await.unwrap();
    }
    let text = "update totals set n = n + 1; insert into effects (key) values (:name)";
    let handler = handler::<crate::servers::InPostgres>(text, NAME);
    let worker = pair.work_with(handler, TIME_LIMIT);
    pair.publish(&[envelope("a")]).await;
    settled(&pair, |books| books.retrying == 1).await;
    assert_eq!(failures(&pair, "a").await, []);
    sqlx::raw_sql("commit").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    settled(&pair, |books| books.done == 1).await;
    worker.stop().await;
    assert_eq!(failures(&pair, "a").await, []);
    let total = pair.stores.rows("select n::text from totals").await;
    assert_eq!(total, ["101"]);
    pair.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_commits_is_a_permanent_failure() {
    let (brokers, stores) = on_postgres().await;
    let pair = Pair::open(brokers, stores).await;
    let function = "create function ends(name text) returns void language plpgsql as
        $$ begin if name = 'bad' then commit; end if; end $$";
    pair.stores.execute(function).await;
    let text = "insert into effects (key) values (:name);\nselect ends(:name)";
    let handler = handler::<crate::servers::InPostgres>(text, NAME);
    pair.publish(&["good-1", "bad", "good-2"].map(envelope))
        .await;
    let worker = pair.work_with(handler, TIME_LIMIT);
    settled(&pair, |books| books.receipts() == 3).await;
    worker.stop().await;
    assert_eq!(reasons(&pair).await, [DeadReason::Rejected]);
    let failed = failures(&pair, "bad").await;
    let [(outcome, error)] = &failed[..] else {
        panic!("one attempt must have failed: {failed:?}");
    };
    assert_eq!(outcome, "permanent");
    assert!(error.contains("(SQLSTATE 2D000)"), "{error}");
    for (name, effects) in [("good-1", 1), ("bad", 0), ("good-2", 1)] {
        assert_eq!(pair.stores.effects(name).await, effects, "{name}");
    }
    pair.finish().await;
}
