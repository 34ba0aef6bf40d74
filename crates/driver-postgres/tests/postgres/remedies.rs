//! Tests the remedies that operators get when the database denies a handler a right, or lacks an
//! object that the handler uses.

use hookbox_driver::{Fault, FaultKind, Store, UserStatement};
use sqlx::{Connection, Executor};

use crate::world::World;

/// The error must name what is missing, and the operator's remedy must name the `GRANT` that fixes
/// it.
#[tokio::test]
async fn a_missing_right_or_table_is_the_deployments() {
    let world = World::new().await;
    world.execute("create table strict (key int)").await;
    let mut connection = world.connect().await;
    let denied = connection
        .execute("begin; set local role pg_monitor; select * from strict")
        .await
        .unwrap_err();
    assert_eq!(world.store.diagnose(&denied), Some(FaultKind::MissingRight));
    let remedy = world.store.remedy(&denied).unwrap();
    assert!(
        remedy.contains("permission denied for table strict")
            && remedy.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON strict TO \""),
        "{remedy}"
    );
    connection.execute("rollback").await.unwrap();
    let missing = connection
        .execute("select * from nothing")
        .await
        .unwrap_err();
    assert_eq!(
        world.store.diagnose(&missing),
        Some(FaultKind::MissingRight)
    );
    let remedy = world.store.remedy(&missing).unwrap();
    assert_eq!(
        remedy,
        "the database lacks a table, column, function or schema that the handler's statement names \
         (SQLSTATE 42P01); run the migrations of the handler"
    );
    connection.close().await.unwrap();
}

/// A remedy is logged, so it must contain no personal data. Such data may be a name that the
/// statement got as a value, the text of an error that a function raises, or what a handler in a
/// program wrote into the text of its statement. The text of a statement in the config is known,
/// and may be in the remedy.
#[tokio::test]
async fn a_remedy_shows_no_value() {
    let world = World::new().await;
    world
        .execute(
            "create function raises(text) returns void language plpgsql as
             $$ begin raise exception 'no table for %', $1 using errcode = '42P01'; end $$;
             create function reads(text) returns void language plpgsql as
             $$ begin execute format('select 1 from %I', $1); end $$",
        )
        .await;
    let mut connection = world.connect().await;
    for statement in [
        "select $1::regclass::text",
        "select raises($1)",
        "select reads($1)",
    ] {
        let query = sqlx::query(statement).bind("ada");
        let missing = query.execute(&mut connection).await.unwrap_err();
        let remedy = world.store.remedy(&missing).unwrap();
        assert!(remedy.contains("SQLSTATE 42P01"), "{remedy}");
        for remedy in [remedy, world.store.remedy(&of_config(missing)).unwrap()] {
            assert!(!remedy.contains("ada"), "{remedy}");
            assert!(remedy.contains("lacks a table"), "{remedy}");
        }
    }
    let missing = connection.execute("select * from ada").await.unwrap_err();
    let remedy = world.store.remedy(&missing).unwrap();
    assert!(!remedy.contains("ada"), "{remedy}");
    let remedy = world.store.remedy(&of_config(missing)).unwrap();
    assert_eq!(
        remedy,
        "line 1: the database says: relation \"ada\" does not exist; correct the statement, or run \
         the migrations of its tables"
    );
    connection.close().await.unwrap();
}

/// Returns the error as if a statement in the config had caused it.
fn of_config(error: sqlx::Error) -> Fault {
    let fault = Fault::new(FaultKind::MissingRight, "run a statement", error);
    fault.of_statement(UserStatement {
        place: "line 1".to_owned(),
        role: None,
        message: None,
    })
}
