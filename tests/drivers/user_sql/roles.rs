//! Tests statements of a user that write hookbox's own tables. Nothing prevents them but a role of
//! the database that has no right to write these tables.

use hookbox_conformance::{StoreHarness, envelope};
use hookbox_testkit::eventually::eventually;
use hookbox_worker::RefusedHandler;

use super::{NAME, TIME_LIMIT, UserDatabase, failures, handler, on_postgres};
use crate::embedded::Embedded;
use crate::probe::Pair;
use crate::servers::InPostgres;
use crate::whole::settled;

/// The statements of most tests. The first one writes a table of hookbox.
const WRITES: &str = "delete from dead_letters; insert into effects (key) values (:name)";

async fn pair() -> Pair<Embedded, InPostgres> {
    let (brokers, stores) = on_postgres().await;
    Pair::open(brokers, stores).await
}

/// Makes a role that may only insert into `effects`. Returns the name of the role, and the settings
/// of a handler that uses it.
async fn role(pair: &Pair<Embedded, InPostgres>) -> (String, String) {
    let role = hookbox_tests::random_name("writer");
    let create = format!("create role \"{role}\"; grant insert on effects to \"{role}\"");
    pair.stores.execute(&create).await;
    (role.clone(), format!(r#"{NAME},"role":"{role}""#))
}

async fn finish(pair: Pair<Embedded, InPostgres>, role: &str) {
    let drop = format!("drop owned by \"{role}\"; drop role \"{role}\"");
    pair.stores.execute(&drop).await;
    pair.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_role_nothing_keeps_a_statement_from_any_table() {
    let pair = pair().await;
    let worker = pair.work_with(handler::<InPostgres>(WRITES, NAME), TIME_LIMIT);
    pair.publish(&[envelope("a")]).await;
    settled(&pair, |books| books.done == 1).await;
    worker.stop().await;
    assert_eq!(pair.stores.effects("a").await, 1);
    pair.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_without_the_right_keeps_a_statement_from_our_tables() {
    let pair = pair().await;
    let (role, settings) = role(&pair).await;
    let worker = pair.work_with(handler::<InPostgres>(WRITES, &settings), TIME_LIMIT);
    pair.publish(&[envelope("a")]).await;
    settled(&pair, |books| books.retrying == 1).await;
    assert_eq!(failures(&pair, "a").await, []);
    assert_eq!(pair.stores.effects("a").await, 0);
    let grant = format!("grant delete on dead_letters to \"{role}\"");
    pair.stores.execute(&grant).await;
    settled(&pair, |books| books.done == 1).await;
    worker.stop().await;
    assert_eq!(failures(&pair, "a").await, []);
    assert_eq!(pair.stores.effects("a").await, 1);
    finish(pair, &role).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_asked_for_the_role_of_the_statements() {
    let pair = pair().await;
    let (role, settings) = role(&pair).await;
    pair.stores.execute("create table own (name text)").await;
    let text = "insert into effects (key) values (:name);\ninsert into own values (:name)";
    let worker = pair.work_with(handler::<InPostgres>(text, &settings), TIME_LIMIT);
    pair.publish(&["a", "b", "c"].map(envelope)).await;
    let route = worker.counters.routes.values().next().unwrap();
    eventually("the route must be paused", async || {
        route.missing_right().is_some()
    })
    .await;
    let missing = route.missing_right().unwrap();
    let place = "statements.text, line 2, column 1 (SQLSTATE 42501): ";
    assert!(missing.starts_with(place), "{missing}");
    let grant = format!("run: GRANT SELECT, INSERT, UPDATE, DELETE ON own TO \"{role}\", with");
    assert!(missing.contains(&grant), "{missing}");
    let grant = format!("grant insert on own to \"{role}\"");
    pair.stores.execute(&grant).await;
    settled(&pair, |books| books.done == 3).await;
    worker.stop().await;
    finish(pair, &role).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_ends_with_the_statements() {
    let pair = pair().await;
    let (role, settings) = role(&pair).await;
    pair.stores
        .execute("create table seen (who text); grant insert on seen to public")
        .await;
    let text = "insert into effects (key) values (:name); insert into seen values (current_user)";
    let handler = handler::<InPostgres>(text, &settings);
    pair.check(handler.clone()).await.unwrap();
    let worker = pair.work_with(handler, TIME_LIMIT);
    // hookbox's own statements follow in the same transaction, and need the role of hookbox.
    pair.publish(&["a", "b", "c"].map(envelope)).await;
    settled(&pair, |books| books.done == 3).await;
    worker.stop().await;
    let seen = pair.stores.rows("select distinct who from seen").await;
    assert_eq!(seen, std::slice::from_ref(&role));
    for name in ["a", "b", "c"] {
        assert_eq!(failures(&pair, name).await, [], "{name}");
        assert_eq!(pair.stores.effects(name).await, 1, "{name}");
    }
    finish(pair, &role).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_does_not_exist_is_refused_at_the_start() {
    let pair = pair().await;
    let settings = format!(r#"{NAME},"role":"absent \" role""#);
    let checked = pair.check(handler::<InPostgres>(WRITES, &settings)).await;
    let Err(error @ RefusedHandler::Refused { .. }) = checked else {
        panic!("the role must be refused: {checked:?}");
    };
    let error = error.to_string();
    assert!(error.contains("cannot switch to the role"), "{error}");
    pair.finish().await;
}
