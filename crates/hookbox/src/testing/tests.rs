//! Tests what a rehearsal on SQLite reports about a handler.

use std::num::NonZeroU32;
use std::time::Duration;

use hookbox_driver::{TargetLimits, TargetName};
use hookbox_handlers::Record;
use hookbox_worker::{BatchError, Call, CallError, Effect, Event, HandlerError, OrReject};
use serde::Deserialize;

use super::*;

mod on_sqlite;

const TABLES: &str =
    "create table paid_invoices (invoice text not null unique, cents integer) strict";

#[derive(Deserialize)]
struct InvoicePaid {
    invoice: String,
    cents: i64,
}

/// A handler whose two forms, `handle` and `handle_all`, can differ by `more` cents.
#[derive(Clone, Copy)]
struct BookReceipt {
    more: i64,
}

async fn book(
    tx: &mut SqliteConnection,
    paid: &InvoicePaid,
    cents: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into paid_invoices (invoice, cents) values ($1, $2)")
        .bind(&paid.invoice)
        .bind(cents)
        .execute(tx)
        .await?;
    Ok(())
}

impl Handler<Sqlite> for BookReceipt {
    const NAME: &'static str = "book-receipt";
    type Payload = InvoicePaid;

    async fn handle(
        &self,
        event: &Event<InvoicePaid>,
        tx: &mut SqliteConnection,
    ) -> Result<(), HandlerError> {
        if event.payload.cents < 0 {
            Err("a receipt is not negative").or_reject()?;
        }
        Ok(book(tx, &event.payload, event.payload.cents).await?)
    }

    async fn handle_all(
        &self,
        events: &[Event<InvoicePaid>],
        tx: &mut SqliteConnection,
    ) -> Result<(), BatchError> {
        for event in events {
            book(tx, &event.payload, event.payload.cents + self.more).await?;
        }
        Ok(())
    }
}

/// A handler without `handle_all`.
struct Plain;

impl Handler<Sqlite> for Plain {
    const NAME: &'static str = "plain";
    type Payload = InvoicePaid;

    async fn handle(
        &self,
        event: &Event<InvoicePaid>,
        tx: &mut SqliteConnection,
    ) -> Result<(), HandlerError> {
        Ok(book(tx, &event.payload, event.payload.cents).await?)
    }
}

async fn booked(tx: &mut SqliteConnection) -> Result<Vec<i64>, sqlx::Error> {
    let rows = sqlx::query_scalar("select cents from paid_invoices order by cents");
    rows.fetch_all(tx).await
}

async fn rehearsed<H: Handler<Sqlite>>(
    handler: H,
    bodies: &[&str],
) -> Result<Vec<i64>, RehearsalError> {
    let store = sqlite()
        .await
        .expect("creating the SQLite file must succeed");
    let store = store.with(TABLES);
    let samples = || bodies.iter().copied();
    let look = async |tx: &mut SqliteConnection| booked(tx).await;
    store.rehearse(handler, samples(), look).await
}

const TWO: [&str; 2] = [
    r#"{"invoice":"1","cents":5}"#,
    r#"{"invoice":"2","cents":7}"#,
];

#[tokio::test]
async fn both_forms_of_a_handler_are_tried_and_nothing_is_kept() {
    assert_eq!(rehearsed(Plain, &TWO).await.unwrap(), [5, 7]);
    let store = sqlite().await.unwrap().with(TABLES);
    let path = store
        ._folder
        .as_ref()
        .map(|folder| folder.0.clone())
        .unwrap();
    let handler = BookReceipt { more: 0 };
    for _ in 0..2 {
        // Before the second run, neither the table nor its rows may exist.
        let look = async |tx: &mut SqliteConnection| booked(tx).await;
        let booked = store.rehearse(handler, TWO, look).await.unwrap();
        assert_eq!(booked, [5, 7]);
    }
    assert!(path.exists());
    drop(store);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_handler_whose_forms_differ_is_found() {
    let error = rehearsed(BookReceipt { more: 1 }, &TWO).await.unwrap_err();
    let RehearsalError::Differs { one_by_one, all } = error else {
        panic!("{error}");
    };
    assert_eq!((one_by_one.as_str(), all.as_str()), ("[5, 7]", "[6, 8]"));
}

#[tokio::test]
async fn a_failure_says_what_would_become_of_the_event() {
    let negative = [r#"{"invoice":"1","cents":-5}"#];
    let error = rehearsed(BookReceipt { more: 0 }, &negative)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "handle failed (the event would be a dead letter at once): a receipt is not negative"
    );
    let error = rehearsed(Plain, &[r#"{"invoice":"1"}"#]).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the body does not fit the handler: /cents: it is missing"),
        "{error}"
    );
    let error = rehearsed(Plain, &[TWO[0], "{"]).await.unwrap_err();
    assert!(
        matches!(error, RehearsalError::NotJson { sample: 2, .. }),
        "{error}"
    );
    let twice = rehearsed(Plain, &[TWO[0], TWO[0]]).await.unwrap_err();
    let RehearsalError::Failed {
        form, permanent, ..
    } = &twice
    else {
        panic!("{twice}");
    };
    assert_eq!((*form, *permanent), (Form::OneByOne, false), "{twice}");
}

#[tokio::test]
async fn a_statement_of_the_test_that_fails_is_named() {
    let store = sqlite().await.unwrap();
    let look = async |tx: &mut SqliteConnection| booked(tx).await;
    let error = store.rehearse(Record, TWO, look).await.unwrap_err();
    assert!(
        error.to_string().contains("no such table: paid_invoices"),
        "{error}"
    );
}

/// A handler whose payload depends on its settings. It uses only names that this crate exports, as
/// a program must that depends on this crate alone.
mod own_payload {
    use crate::event::Pointer;
    use crate::prelude::*;

    pub struct BookIn {
        pub currency: &'static str,
    }

    pub struct Amount(pub i64);

    impl Payload for Amount {
        fn of(body: &Bytes, read: Option<Json>) -> Result<Self, HandlerError> {
            let body = <Json as Payload>::of(body, read)?;
            let cents = body.root().at(&"/cents".parse::<Pointer>().or_reject()?);
            let cents = cents.ok_or("there is no amount").or_reject()?;
            cents.raw().parse().map(Self).or_reject()
        }
    }

    impl Handler<Sqlite> for BookIn {
        const NAME: &'static str = "book-in";
        type Payload = Amount;

        fn payload(&self, body: &Bytes, read: Option<Json>) -> Result<Amount, HandlerError> {
            let body = <Json as Payload>::of(body, read)?;
            let currency = body.root().at(&"/currency".parse::<Pointer>().or_reject()?);
            let currency = currency.and_then(JsonValue::as_str);
            if currency != Some(self.currency) {
                return Err("another currency").or_reject();
            }
            Amount::of(&Bytes::new(), Some(body))
        }

        async fn handle(
            &self,
            event: &Event<Amount>,
            tx: &mut SqliteConnection,
        ) -> Result<(), HandlerError> {
            sqlx::query("insert into paid_invoices (invoice, cents) values ('1', $1)")
                .bind(event.payload.0)
                .execute(tx)
                .await?;
            Ok(())
        }
    }
}

#[tokio::test]
async fn a_handler_makes_its_payload_by_its_settings() {
    let book = || own_payload::BookIn { currency: "EUR" };
    let euros = [r#"{"currency":"EUR","cents":5}"#];
    assert_eq!(rehearsed(book(), &euros).await.unwrap(), [5]);
    let dollars = [r#"{"currency":"USD","cents":5}"#];
    let error = rehearsed(book(), &dollars).await.unwrap_err();
    assert!(
        format!("{error:?}").contains("another currency"),
        "{error:?}"
    );
}

/// An effect that rejects a negative amount, and reports a busy target if the amount is 0.
struct Notify(TargetName);

impl Effect for Notify {
    const NAME: &'static str = "notify";
    type Payload = InvoicePaid;

    fn target(&self) -> &TargetName {
        &self.0
    }

    fn limits(&self) -> TargetLimits {
        TargetLimits {
            concurrency: NonZeroU32::MIN,
            rate: None,
        }
    }

    fn time_limit(&self) -> Duration {
        Duration::from_secs(10)
    }

    async fn call(&self, event: &Event<InvoicePaid>, call: &Call) -> Result<(), CallError> {
        if event.payload.cents < 0 {
            Err("a receipt is not negative").or_reject()?;
        }
        if event.payload.cents == 0 {
            return Err(CallError::busy(None, "429"));
        }
        assert!(call.key.ends_with("-rehearsal-1"), "{}", call.key);
        Ok(())
    }
}

async fn called(body: &str) -> Result<Call, CallRehearsalError> {
    let target = "https://crm.example.com".parse().unwrap();
    rehearse_call(Notify(target), body).await
}

#[tokio::test]
async fn an_effect_is_tried_without_a_store() {
    let call = called(TWO[0]).await.unwrap();
    assert_eq!((call.attempt, call.epoch), (1, 1));
    for (body, expect) in [
        (
            r#"{"invoice":"1","cents":-5}"#,
            "the call failed (the event would be a dead letter at once): a receipt is not negative",
        ),
        (
            r#"{"invoice":"1","cents":0}"#,
            "the call failed (the event would wait, and no attempt would be counted): 429",
        ),
    ] {
        assert_eq!(called(body).await.unwrap_err().to_string(), expect);
    }
    let unfit = called(r#"{"invoice":"1"}"#).await.unwrap_err();
    assert!(matches!(unfit, CallRehearsalError::NoPayload(_)), "{unfit}");
    let broken = called("{").await.unwrap_err();
    assert!(matches!(broken, CallRehearsalError::NotJson(_)), "{broken}");
}
