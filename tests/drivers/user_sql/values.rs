//! Tests that the values of parameters arrive in the database unchanged, for one event and in a
//! batch, and that an event whose body does not fit becomes a dead letter.

use hookbox_conformance::BrokerHarness;
use hookbox_driver::DeadReason;

use super::{TIME_LIMIT, UserDatabase, event, failures, handler, reasons};
use crate::probe::Pair;
use crate::whole::settled;

both_databases!(
    values_are_exact,
    values_of_a_batch_are_exact,
    a_body_that_does_not_fit_costs_the_others_nothing,
);

const MEMBERS: &str = r#""t":"é😀 'x' \\ {a,NULL} \" 0.10","b":9007199254740993.0,
    "d":0.10000000000000000000001,"f":false,"w":"2026-02-03T04:05:06.5+01:00",
    "j":{"a" : [1.50, "x"]}"#;

const PARAMETERS: &str = r#""parameters":{
    "t":{"pointer":"/t","type":"text","required":false},
    "b":{"pointer":"/b","type":"bigint","required":false},
    "d":{"pointer":"/d","type":"decimal","required":false},
    "f":{"pointer":"/f","type":"boolean","required":false},
    "w":{"pointer":"/w","type":"timestamp","required":false},
    "j":{"pointer":"/j","type":"json","required":false}}"#;

async fn create_table<S: UserDatabase>(stores: &S) {
    stores
        .execute(S::choose(
            "create table kept (id text, receipt text, topic text, received timestamptz,
                attempt bigint, round bigint, body json, t text, b bigint, d numeric, f boolean,
                w timestamptz, j json, number bigint)",
            "create table kept (id text, receipt text, topic text, received text,
                attempt integer, round integer, body text, t text, b integer, d text, f integer,
                w text, j text, number integer) strict",
        ))
        .await;
}

/// Checks the rows that were written for an event with all values and for an event without any.
async fn check_rows<B, S>(pair: &Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    let rows = pair
        .stores
        .rows(S::choose(
            "select concat_ws('|', id, receipt, topic, received at time zone 'UTC', attempt, round,
                body, t, b, d, f, w at time zone 'UTC', j, number > 0) from kept order by t",
            "select concat_ws('|', id, receipt, topic, received, attempt, round,
                body, t, b, d, f, w, j, number > 0) from kept order by t is null",
        ))
        .await;
    let expected = [event("all", MEMBERS), event("none", "\"t\":null")].map(|event| {
        let received = S::choose("2025-11-24 16:00:00", "2025-11-24T16:00:00.000000Z");
        let known = format!(
            "{}|{}|{}|{received}|1|1|{}",
            event.event,
            event.receipt,
            event.topic,
            String::from_utf8_lossy(&event.body)
        );
        let own = "é😀 'x' \\ {a,NULL} \" 0.10|9007199254740993|0.10000000000000000000001";
        let later = S::choose("f|2026-02-03 03:05:06.5", "0|2026-02-03T03:05:06.500000Z");
        let is_numbered = S::choose("t", "1");
        if event.body.ends_with(b"null}") {
            format!("{known}|{is_numbered}")
        } else {
            format!("{known}|{own}|{later}|{{\"a\" : [1.50, \"x\"]}}|{is_numbered}")
        }
    });
    assert_eq!(rows, expected);
}

async fn values_are_exact<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    create_table(&pair.stores).await;
    let text = "insert into kept values (:event_id, :receipt_id, :topic, :received_at, :attempt,
        :round, :body, :t, :b, :d, :f, :w, :j, :event_number)";
    let worker = pair.work_with(handler::<S>(text, PARAMETERS), TIME_LIMIT);
    pair.publish(&[event("all", MEMBERS), event("none", "\"t\":null")])
        .await;
    settled(&pair, |books| books.done == 2).await;
    worker.stop().await;
    check_rows(&pair).await;
    pair.finish().await;
}

async fn values_of_a_batch_are_exact<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    create_table(&pair.stores).await;
    let text = S::choose(
        "insert into kept select * from unnest(:event_id, :receipt_id, :topic, :received_at,
            :attempt, :round, :body, :t, :b, :d, :f, :w, :j, :event_number)",
        "insert into kept
         select id.value, :receipt_id ->> id.key, :topic ->> id.key, :received_at ->> id.key,
                :attempt ->> id.key, :round ->> id.key, :body ->> id.key, :t ->> id.key,
                :b ->> id.key, :d ->> id.key, :f ->> id.key, :w ->> id.key, :j ->> id.key,
                :event_number ->> id.key
         from json_each(:event_id) as id",
    );
    let handler = handler::<S>(text, &format!(r#"{PARAMETERS},"batch":true"#));
    pair.check(handler.clone()).await.unwrap();
    pair.publish(&[event("all", MEMBERS), event("none", "\"t\":null")])
        .await;
    let worker = pair.work_with(handler, TIME_LIMIT);
    settled(&pair, |books| books.done == 2).await;
    worker.stop().await;
    check_rows(&pair).await;
    pair.finish().await;
}

async fn a_body_that_does_not_fit_costs_the_others_nothing<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    let parameters = r#""parameters":{"name":{"pointer":"/event","type":"text"},
        "score":{"pointer":"/a/0/score","type":"bigint"}}"#;
    let text = "insert into effects (key) values (:name);
        insert into effects (key) select :name where :score <> 7";
    pair.publish(&[
        event("good-1", r#""a":[{"score":7}]"#),
        event("wrong", r#""a":[{"score":"secret"}]"#),
        event("absent", r#""a":[]"#),
        event("null", r#""a":[{"score":null}]"#),
        event("other", r#""a":["secret"]"#),
        event("good-2", r#""a":[{"score":7.0}]"#),
    ])
    .await;
    let worker = pair.work_with(handler::<S>(text, parameters), TIME_LIMIT);
    let books = settled(&pair, |books| books.receipts() == 6).await;
    worker.stop().await;
    assert_eq!((books.done, books.dead), (2, 4));
    assert_eq!(reasons(&pair).await, [DeadReason::Rejected; 4]);
    for (name, what) in [
        ("wrong", "/a/0/score is not a whole number of 64 bits"),
        ("absent", "/a/0/score is required, and is absent or null"),
        ("null", "/a/0/score is required, and is absent or null"),
        (
            "other",
            "/a/0 is not an object, so that nothing can be at /a/0/score",
        ),
    ] {
        let error = format!("parameter score: the value at {what}");
        let expected = [("permanent".to_owned(), error)];
        assert_eq!(failures(&pair, name).await, expected, "{name}");
        assert_eq!(pair.stores.effects(name).await, 0, "{name}");
    }
    for name in ["good-1", "good-2"] {
        assert_eq!(failures(&pair, name).await, [], "{name}");
        assert_eq!(pair.stores.effects(name).await, 1, "{name}");
    }
    pair.finish().await;
}
