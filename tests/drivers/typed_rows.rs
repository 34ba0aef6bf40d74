//! The handler `begini` writes the rows of a batch with one statement for each table. These must be
//! the same rows as when it writes the events one by one, and every text and number must be stored
//! unchanged.

use bytes::Bytes;
use hookbox_conformance::of_number;
use hookbox_driver::Store;
use hookbox_driver_postgres::Postgres;
use hookbox_driver_sqlite::Sqlite;
use hookbox_event::{Envelope, EventNumber};
use hookbox_handlers::Begini;
use hookbox_tests::postgres::PostgresWorld;
use hookbox_tests::sqlite::SqliteWorld;
use hookbox_worker::{Event, Handler, Payload};

use crate::claimed_event::event_of;

/// The number of events. It is larger than a full batch, so that the handler needs statements of
/// every size.
const EVENTS: usize = 89;

/// A text that a careless conversion would change.
const STRANGE: &str = r#"é😀 \"quoted\" \\ {a,NULL} 'x' %s \t 0.10"#;

fn event<P: Payload>(number: usize) -> (Envelope, Event<P>) {
    let envelope = of_number(number);
    let kind = match number % 4 {
        0 | 1 => "psychometric_score.complete",
        2 => "application.expired",
        _ => "android_score.complete",
    };
    let traits: Vec<String> = (0..number % 5)
        .map(|at| format!(r#"{{"key":"k{at}","value":0.1000000000000000000{at},"n":"{STRANGE}"}}"#))
        .collect();
    let traits = traits.join(",");
    let band = if number.is_multiple_of(3) {
        "null"
    } else {
        "\"NULL\""
    };
    let body = format!(
        r#"{{"uid":"{STRANGE}","integration_id":"12345678901234567890","event":{{"type":"{kind}",
        "reasons":["{STRANGE}"],"new":1.50e400,"details":{{"scored_at":{number},
        "percent_x":"0.333333333333333","application_expired_at":1.0,
        "calculated":{{"score":9223372036854775807,"risk_band":{band},"traits":[{traits}]}}}}}}}}"#
    );
    let sent = Envelope {
        body: Bytes::from(body),
        ..envelope.clone()
    };
    let event = event_of(&sent, EventNumber::from_i64(number as i64 + 1), 1);
    (envelope, event)
}

/// Writes the rows of all events in a transaction: at once, or one event after another. Returns the
/// transaction.
async fn written<S: Store>(store: &S, at_once: bool) -> S::Tx
where
    Begini: Handler<S>,
{
    let event = event::<<Begini as Handler<S>>::Payload>;
    let (envelopes, mut events): (Vec<_>, Vec<_>) = (0..EVENTS).map(event).unzip();
    let mut tx = store.begin().await.unwrap();
    let route = "one".parse().unwrap();
    let envelopes: Vec<&Envelope> = envelopes.iter().collect();
    store.claim(&mut tx, &route, &envelopes).await.unwrap();
    let connection = store.connection(&mut tx);
    // Round 4 stands for a replay. It replaces the rows of round 1 by equal rows.
    for round in [1, 4] {
        for event in &mut events {
            event.round = round;
        }
        if at_once {
            Begini.handle_all(&events, connection).await.unwrap();
        } else {
            for event in &events {
                Begini.handle(event, connection).await.unwrap();
            }
        }
    }
    tx
}

fn check(one_by_one: &[String], at_once: &[String]) {
    assert_eq!(one_by_one, at_once);
    let traits: usize = (0..EVENTS).filter(|it| it % 4 != 2).map(|it| it % 5).sum();
    assert_eq!(at_once.len(), EVENTS + traits);
    let text = STRANGE
        .replace(r#"\""#, "\"")
        .replace(r"\\", r"\")
        .replace(r"\t", "\t");
    for exact in [
        text.as_str(),
        "9223372036854775807",
        "0.10000000000000000003",
        "1.50e400",
        "0.333333333333333",
    ] {
        let is_there = |row: &String| row.contains(exact);
        assert!(
            at_once.iter().any(is_there),
            "{exact} must be stored unchanged"
        );
    }
}

const POSTGRES: &str = "select (s.*)::text from begini_scores s
    union all select (t.*)::text from begini_score_traits t
    union all select (a.*)::text from begini_applications a order by 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_writes_the_rows_of_its_events_on_postgres() {
    let world = PostgresWorld::new().await;
    let store = world.open().await;
    let mut found = Vec::new();
    for at_once in [false, true] {
        let mut tx = written::<Postgres>(&store, at_once).await;
        let rows: Vec<String> = sqlx::query_scalar(POSTGRES)
            .fetch_all(store.connection(&mut tx))
            .await
            .unwrap();
        // In the text of a composite value, PostgreSQL doubles quotes and backslashes.
        found.push(
            rows.iter()
                .map(|row| row.replace("\"\"", "\"").replace(r"\\", r"\"))
                .collect(),
        );
        store.rollback(tx).await;
    }
    let [one_by_one, at_once]: [Vec<String>; 2] = found.try_into().unwrap();
    check(&one_by_one, &at_once);
    Store::close(&store).await;
    world.finish().await;
}

const SQLITE: &str = "select concat_ws('|', event, integration_id, uid, kind, platform,
        score, coalesce(risk_band, 'none'), score_confidence, application_started_at,
        application_completed_at, scored_at, other) from begini_scores
    union all select concat_ws('|', event, position, key, value,
        coalesce(risk_band, 'none'), other) from begini_score_traits
    union all select concat_ws('|', event, integration_id, uid, status, started_at,
        ended_at, percentages, reasons, other) from begini_applications order by 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_writes_the_rows_of_its_events_on_sqlite() {
    let world = SqliteWorld::new(&["one"]).await;
    let store = world.open().await;
    let mut found = Vec::new();
    for at_once in [false, true] {
        let mut tx = written::<Sqlite>(&store, at_once).await;
        let rows: Vec<String> = sqlx::query_scalar(SQLITE)
            .fetch_all(store.connection(&mut tx))
            .await
            .unwrap();
        found.push(rows);
        store.rollback(tx).await;
    }
    let [one_by_one, at_once]: [Vec<String>; 2] = found.try_into().unwrap();
    check(&one_by_one, &at_once);
    Store::close(&store).await;
    world.finish().await;
}
