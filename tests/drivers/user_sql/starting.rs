//! Tests that a worker does not start with a statement that the database does not accept, and that
//! the error shows the place in the user's text.

use hookbox_conformance::BrokerHarness;
use hookbox_worker::RefusedHandler;

use super::{NAME, UserDatabase, handler, on_postgres};
use crate::embedded::Embedded;
use crate::probe::Pair;
use crate::servers::InPostgres;

both_databases!(
    what_the_database_accepts_is_accepted,
    what_the_database_does_not_accept_is_refused_with_its_place,
    an_unavailable_database_is_a_fault,
);

async fn refusal<B, S>(pair: &Pair<B, S>, text: &str, others: &str) -> String
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    match pair.check(handler::<S>(text, others)).await {
        Err(error @ RefusedHandler::Refused { .. }) => error.to_string(),
        other => panic!("{text:?} must be refused: {other:?}"),
    }
}

async fn what_the_database_accepts_is_accepted<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    let text = "select 1; insert into effects (key) values (:name), (:topic);
        update effects set key = :name where key = :event_id; delete from effects where 1 = 0;
        with one as (select 1) select * from one; values (:attempt, :round, :event_number)";
    pair.check(handler::<S>(text, NAME)).await.unwrap();
    assert_eq!(pair.stores.effects("").await, 0);
    pair.finish().await;
}

async fn what_the_database_does_not_accept_is_refused_with_its_place<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    pair.stores.execute("create table numbers (n bigint)").await;
    let long = "insert into effects (key) values (:name, :name);\n  insert into effects (kay)\n\
                values (:name)";
    let first = refusal(&pair, long, NAME).await;
    assert!(first.contains("line 1, column "), "{first}");
    // PostgreSQL reports the position of the mistake within the statement. SQLite describes the
    // position only in the text of its message, so the error shows where the statement begins.
    for (text, postgres, sqlite, what) in [
        (
            "select 1;\n\nselect :name from where",
            "line 3, column 19",
            "line 3, column 1",
            "syntax error",
        ),
        (
            "insert into effects (key) values (:name);\n  insert into effects (kay) values (:name)",
            "line 2, column 24",
            "line 2, column 3",
            "kay",
        ),
        (
            "select :name, 'é' from\n absent",
            "line 2, column 2",
            "line 1, column 1",
            "absent",
        ),
    ] {
        let refused = refusal(&pair, text, NAME).await;
        assert!(refused.contains(S::choose(postgres, sqlite)), "{refused}");
        assert!(refused.contains(what), "{refused}");
        let of = "the database does not accept the handler \"sql\" of route one: statements.text";
        assert!(refused.starts_with(of), "{refused}");
    }
    pair.finish().await;
}

async fn an_unavailable_database_is_a_fault<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    let handler = handler::<S>("select :name", NAME);
    pair.stores.sever().await;
    let checked = pair.check(handler.clone()).await;
    assert!(
        matches!(checked, Err(RefusedHandler::Fault(_))),
        "{checked:?}"
    );
    pair.stores.restore().await;
    pair.check(handler).await.unwrap();
    pair.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_that_does_not_fit_is_refused_at_its_parameter() {
    let (brokers, stores) = on_postgres().await;
    let pair = Pair::<_, InPostgres>::open(brokers, stores).await;
    pair.stores.execute("create table numbers (n bigint)").await;
    let text = "insert into numbers\nvalues (:attempt),\n  (:name)";
    let refused = refusal(&pair, text, NAME).await;
    assert!(
        refused.contains("line 3, column 4 (SQLSTATE 42804)"),
        "{refused}"
    );
    let plain = "update numbers set n = :number where n = :number";
    let number = r#""parameters":{"number":{"pointer":"/n","type":"bigint"}}"#;
    let batch = format!(r#"{number},"batch":true"#);
    let refused = refusal(&pair, plain, &batch).await;
    assert!(
        refused.contains("where each parameter is an array of the values of a batch"),
        "{refused}"
    );
    let arrays = "insert into numbers select * from unnest(:number)";
    let refused = refusal(&pair, arrays, number).await;
    assert!(refused.contains("`batch = true` is not set"), "{refused}");
    pair.check(handler::<InPostgres>(arrays, &batch))
        .await
        .unwrap();
    let cast = "insert into numbers values (:attempt), (:name::bigint)";
    pair.check(handler::<InPostgres>(cast, NAME)).await.unwrap();
    pair.finish().await;
}

/// Objects of a user beside hookbox's tables. Both triggers write a table of hookbox.
const OBJECTS: &str = "
    create table own (name text primary key, event integer references events (number));
    create table indirect (name text);
    create trigger fires after insert on indirect begin delete from dead_letters; end;
    create view seen as select name from own;
    create trigger through instead of insert on seen begin update claims set route = ''; end;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_writes_a_table_of_hookbox_is_refused_on_sqlite() {
    let (brokers, stores) = Embedded::pair().await;
    let pair = Pair::<_, Embedded>::open(brokers, stores).await;
    pair.stores.execute(OBJECTS).await;
    for (statement, table) in [
        ("insert into meta select * from meta", "meta"),
        ("update claims set route = route", "claims"),
        ("delete from receipts where route = :name", "receipts"),
        ("delete from dead_letters", "dead_letters"),
        ("delete from main.\"Messages\"", "messages"),
        ("delete from begini_scores", "begini_scores"),
        ("delete from _sqlx_migrations", "_sqlx_migrations"),
        ("insert or replace into meta select * from meta", "meta"),
        (
            "insert into meta select * from meta where true on conflict do nothing",
            "meta",
        ),
        ("insert into indirect values ('a')", "dead_letters"),
        ("insert into seen values ('a')", "claims"),
    ] {
        let text = format!("select :name;\n  {statement}");
        let refused = refusal(&pair, &text, NAME).await;
        let expected = format!(
            "statements.text, line 2, column 3: a statement must not write hookbox's own table \
             {table}, "
        );
        assert!(refused.contains(&expected), "{statement}: {refused}");
    }
    for statement in [
        "select count(*) from receipts",
        "insert into own (name, event) select :name, number from events",
        "insert into own (name) values ('a') on conflict (name) do update set event = null",
        "insert or replace into own (name, event) values ('a', :event_number)",
        "update own set event = (select max(number) from events)",
        "delete from own where event in (select event from claims)",
        "delete from own",
    ] {
        let text = format!("select :name; {statement}");
        let checked = pair.check(handler::<Embedded>(&text, NAME)).await;
        assert!(checked.is_ok(), "{statement}: {checked:?}");
    }
    pair.finish().await;
}
