//! The handler on SQLite that docs/HANDLERS.md shows. `tests/cli/readme.rs` compares the two.

use crate::prelude::*;
use crate::testing;

#[derive(Deserialize)]
struct InvoicePaid {
    invoice: String,
    cents: i64,
}

struct BookReceipt {
    currency: String,
}

const RECEIPTS: &str = "
create table own_service_receipts (
    event integer primary key,
    invoice text not null,
    cents integer not null,
    currency text not null
) strict;
";

impl Handler<Sqlite> for BookReceipt {
    const NAME: &'static str = "book-receipt";
    type Payload = InvoicePaid;

    async fn check_database(&self, tx: &mut SqliteConnection) -> Result<(), HandlerError> {
        sqlx::query("select event, invoice, cents, currency from own_service_receipts limit 0")
            .execute(tx)
            .await?;
        Ok(())
    }

    async fn handle(
        &self,
        event: &Event<InvoicePaid>,
        tx: &mut SqliteConnection,
    ) -> Result<(), HandlerError> {
        sqlx::query("insert into own_service_receipts values (?1, ?2, ?3, ?4)")
            .bind(event.number.as_i64())
            .bind(&event.payload.invoice)
            .bind(event.payload.cents)
            .bind(&self.currency)
            .execute(tx)
            .await?;
        Ok(())
    }
}

fn book_receipt() -> BookReceipt {
    BookReceipt {
        currency: "EUR".to_owned(),
    }
}

#[tokio::test]
async fn a_paid_invoice_is_booked_and_a_missing_table_is_found() {
    let store = testing::sqlite().await.unwrap().with(RECEIPTS);
    let samples = [r#"{"invoice":"2026-0001","cents":1250}"#];
    let look = async |tx: &mut SqliteConnection| {
        let rows = sqlx::query_as("select invoice, cents, currency from own_service_receipts");
        let rows = rows.fetch_all(&mut *tx).await;
        book_receipt().check_database(&mut *tx).await.unwrap();
        let dropped = sqlx::query("drop table own_service_receipts");
        dropped.execute(&mut *tx).await.unwrap();
        let missing = book_receipt().check_database(tx).await.unwrap_err();
        let missing = format!("{missing:?}");
        assert!(missing.contains("no such table"), "{missing}");
        rows
    };
    let booked: Vec<(String, i64, String)> =
        store.rehearse(book_receipt(), samples, look).await.unwrap();
    let expected = ("2026-0001".to_owned(), 1250, "EUR".to_owned());
    assert_eq!(booked, [expected]);
}
