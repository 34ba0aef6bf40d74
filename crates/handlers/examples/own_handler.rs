//! Runs a worker with a custom handler in a program that does not use the commands of hookbox.
//! Broker and store are one SQLite file in a temporary folder. For a service with hookbox's
//! commands, see `examples/own-service`.
//!
//! ```sh
//! cargo run --package hookbox-handlers --example own_handler
//! ```
//!
//! The example publishes one event and a duplicate of it, runs a worker until both have an outcome,
//! and shows that the effect exists once. With PostgreSQL and RabbitMQ, only the two drivers would
//! differ.

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{Batch, Broker, Clock as _, Ledger, Rng as _, Store, SystemClock, SystemRng};
use hookbox_driver_sqlite::{Options, Sqlite, migrate};
use hookbox_event::{ReceiptId, RouteName};
use hookbox_worker::{
    Config, Event, Handler, HandlerError, OrReject, Route, Sample, Worker, register, rehearse,
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
    let invoice = Sample::from(r#"{"invoice":"2026-0001","amount":"12.50"}"#)
        .of(&"billing".parse()?, "invoice.paid");
    let (nothing, read) = (
        async |_: &mut _| Ok(()),
        async |tx: &mut _| booked(tx).await,
    );
    let samples = std::slice::from_ref(&invoice);
    let (_, cents) = rehearse(&*sqlite, &handler, samples, nothing, read).await?;
    println!("rehearsed: {cents} cents were booked, and then rolled back");

    // Ingest publishes an event once its signature is verified. Here the same event is published
    // twice, under two receipts.
    let mut envelope = invoice.envelope(1)?;
    for number in 1..=2 {
        envelope.number = number;
        envelope.receipt = ReceiptId::new(SystemClock.now(), SystemRng.ten());
        let batch = Batch::of(&[envelope.clone()]).expect("a batch of one envelope must be valid");
        sqlite.publish(std::slice::from_ref(&route), &batch).await?;
    }

    let mut config = Config::new(vec![Route::new(route, handler)]);
    config.witness = false;
    let store = Arc::clone(&sqlite);
    let worker = Worker::new(
        sqlite,
        Arc::clone(&store),
        Arc::new(SystemClock),
        Arc::new(SystemRng),
        config,
    );
    run_until_settled(&worker, 2).await;

    let books = store.books().await?;
    println!("done: {}, duplicate: {}", books[0].done, books[0].duplicate);
    let mut tx = store.begin().await?;
    let (rows, cents) = booked(store.connection(&mut tx)).await?;
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
    "example".parse().expect("the name must be valid")
}

/// Returns how many receipts are booked, and the sum of their amounts in cents.
async fn booked(tx: &mut sqlx::SqliteConnection) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as("select count(*), coalesce(sum(cents), 0) from receipts_booked")
        .fetch_one(tx)
        .await
}

#[cfg(test)]
mod tests {
    /// The documentation refers to this example, so it must keep working.
    #[test]
    fn the_example_has_its_effect_once() -> anyhow::Result<()> {
        super::main()
    }
}
