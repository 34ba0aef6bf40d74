//! An example of a custom handler, from the webhook to its effect, on one SQLite file in a
//! temporary folder.
//!
//! ```sh
//! cargo run --package hookbox-handlers --example own_handler
//! ```
//!
//! The example publishes one event and a duplicate of it, runs a worker until both have an outcome,
//! and shows that the effect exists once. With PostgreSQL and RabbitMQ, only the two drivers would
//! differ.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{Batch, Broker, Clock as _, Ledger, Rng, Store, SystemClock};
use hookbox_driver_sqlite::{Options, Sqlite, migrate};
use hookbox_event::{
    ContentDigest, Envelope, EventId, InstanceId, ReceiptId, RouteName, Scalar, SourceName, Topic,
};
use hookbox_worker::{
    Config, Event, Handler, HandlerError, OrReject, Rehearsal, Retry, Route, SourceSchemas, Worker,
    register, rehearse,
};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

/// The fields of the body that the handler needs. Other fields are ignored.
#[derive(Deserialize)]
struct InvoicePaid {
    invoice: String,
    amount: String,
}

/// A handler that inserts a row for every invoice that was paid.
struct BookReceipt;

impl Handler<Sqlite> for BookReceipt {
    const NAME: &'static str = "book-receipt";
    type Payload = InvoicePaid;

    async fn handle(
        &self,
        event: &Event<InvoicePaid>,
        tx: &mut sqlx::SqliteConnection,
    ) -> Result<(), HandlerError> {
        // If the amount is not a number, another attempt cannot help, so `or_reject` makes the
        // event a dead letter at once.
        let cents = cents(&event.payload.amount).or_reject()?;
        // A database error may be temporary: `?` makes another attempt after a delay.
        sqlx::query("insert into receipts_booked (invoice, cents) values ($1, $2)")
            .bind(&event.payload.invoice)
            .bind(cents)
            .execute(tx)
            .await?;
        Ok(())
    }
}

/// Converts an amount such as "12.50" to cents without using a float.
fn cents(amount: &str) -> Result<i64, std::num::ParseIntError> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, "00"));
    Ok(whole.parse::<i64>()? * 100 + fraction.parse::<i64>()?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("hookbox-example-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let outcome = show(&folder).await;
    std::fs::remove_dir_all(&folder)?;
    outcome
}

async fn show(folder: &std::path::Path) -> anyhow::Result<()> {
    let route: RouteName = "invoices".parse()?;
    let path = folder.join("hookbox.db");
    let options = || Options::new(path.clone(), environment(), vec![route.clone()]);
    migrate(options()).await?;
    let sqlite = Arc::new(Sqlite::open(options()).await?);
    let mut tx = sqlite.begin().await?;
    sqlx::query("create table receipts_booked (invoice text, cents integer)")
        .execute(sqlite.connection(&mut tx))
        .await?;
    sqlite.commit(tx).await?;

    // First a rehearsal: it runs the handler in a transaction and rolls the transaction back.
    let handler = register(BookReceipt);
    match rehearse(&*sqlite, &handler, &envelope(0)?).await? {
        Rehearsal::Handled { took } => println!("rehearsed in {took:?}; nothing was kept"),
        Rehearsal::Failed { error, .. } => anyhow::bail!("the handler failed: {error}"),
    }

    // Ingest publishes an event once its signature is verified. Here the same event is published
    // twice, under two receipts.
    for number in 1..=2 {
        let batch = Batch::of(&[envelope(number)?]).expect("a batch of one envelope must be valid");
        sqlite.publish(std::slice::from_ref(&route), &batch).await?;
    }

    let config = Config {
        routes: vec![Route {
            name: route.clone(),
            shared_topics: Vec::new(),
            handler,
            retry: Retry::new(5, Duration::from_secs(1), 2.0, Duration::from_secs(60), 0.2)?,
            time_limit: Duration::from_secs(5),
            concurrency: NonZeroUsize::MIN,
            prefetch: 16,
        }],
        all_routes: vec![route],
        schemas: SourceSchemas::default(),
        conflicts: Vec::new(),
        schedule_interval: Duration::from_millis(500),
        collect: true,
        witness: false,
    };
    let store = Arc::clone(&sqlite);
    let worker = Worker::new(
        sqlite,
        Arc::clone(&store),
        Arc::new(SystemClock),
        Arc::new(Zeros),
        config,
    );
    run_until_settled(&worker, 2).await;

    let books = store.books().await?;
    println!("done: {}, duplicate: {}", books[0].done, books[0].duplicate);
    let mut tx = store.begin().await?;
    let (rows, cents): (i64, i64) =
        sqlx::query_as("select count(*), sum(cents) from receipts_booked")
            .fetch_one(store.connection(&mut tx))
            .await?;
    store.rollback(tx).await;
    println!("booked: {rows} receipt over {cents} cents");
    anyhow::ensure!(
        (rows, cents) == (1, 1250),
        "the effect of the handler must exist once"
    );
    Store::close(&*store).await;
    Ok(())
}

async fn run_until_settled(worker: &Worker<Sqlite>, receipts: u64) {
    let (shutdown, counters) = (CancellationToken::new(), worker.counters());
    let until_settled = async {
        while counters.settled() < receipts {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        shutdown.cancel();
    };
    tokio::join!(worker.run(shutdown.clone()), until_settled);
}

fn environment() -> hookbox_event::EnvironmentName {
    "example".parse().expect("a valid name")
}

/// Makes an envelope as ingest does from a request. `number` makes the receipts differ.
fn envelope(number: u64) -> anyhow::Result<Envelope> {
    let source: SourceName = "billing".parse()?;
    let body = r#"{"invoice":"2026-0001","amount":"12.50"}"#;
    let document = hookbox_event::scan(body.as_bytes(), &[])?;
    Ok(Envelope {
        receipt: ReceiptId::new(SystemClock.now(), [number as u8; 10]),
        topic: Topic::of(&source, Some("invoice.paid")),
        event: EventId::from_fields(&source, &[Scalar::String("2026-0001".into())]),
        id_tail: None,
        digest: ContentDigest::of_canonical_json(&document.canonical),
        source,
        received_at: SystemClock.now(),
        key_id: "2026-11".into(),
        instance: InstanceId::new(SystemClock.now(), [0; 10]),
        number,
        seal: None,
        traceparent: None,
        redo: None,
        body: body.into(),
    })
}

/// Random numbers that are always zero, so the delays before retries are not varied at random. A
/// service uses the system's random numbers.
struct Zeros;

impl Rng for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

#[cfg(test)]
mod tests {
    /// The documentation refers to this example, so it must keep working.
    #[test]
    fn the_example_has_its_effect_once() -> anyhow::Result<()> {
        super::main()
    }
}
