//! Tests the handler in a PostgreSQL database that is for tests only.

use hookbox::testing;

use super::*;

#[tokio::test]
async fn a_paid_invoice_is_booked() -> Result<(), hookbox::BoxError> {
    let store = testing::postgres(&std::env::var("TEST_DATABASE_URL")?).await?;
    let store = store.with(include_str!("../migrations/0001_receipts.sql"));
    let handler = BookReceipt {
        currency: "EUR".to_owned(),
    };
    let samples = [r#"{"type":"invoice.paid","invoice":"2026-0001","cents":1250}"#];
    let look = async |tx: &mut PgConnection| {
        let rows = sqlx::query_as("select invoice, cents, currency from own_service.receipts");
        rows.fetch_all(tx).await
    };
    let booked: Vec<(String, i64, String)> = store.rehearse(handler, samples, look).await?;
    let expected = ("2026-0001".to_owned(), 1250, "EUR".to_owned());
    assert_eq!(booked, [expected]);
    Ok(())
}
