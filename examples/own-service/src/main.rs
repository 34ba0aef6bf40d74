//! hookbox with a handler that books a receipt for every invoice that was paid.

use hookbox::prelude::*;

#[derive(Deserialize)]
#[serde(crate = "hookbox::serde")]
struct InvoicePaid {
    invoice: String,
    cents: i64,
}

#[derive(Deserialize)]
#[serde(crate = "hookbox::serde")]
struct BookReceipt {
    currency: String,
}

impl Handler<Postgres> for BookReceipt {
    const NAME: &'static str = "book-receipt";
    type Payload = InvoicePaid;

    async fn handle(
        &self,
        event: &Event<InvoicePaid>,
        tx: &mut PgConnection,
    ) -> Result<(), HandlerError> {
        sqlx::query("insert into own_service.receipts values ($1, $2, $3, $4)")
            .bind(event.number.as_i64())
            .bind(&event.payload.invoice)
            .bind(event.payload.cents)
            .bind(&self.currency)
            .execute(tx)
            .await?;
        Ok(())
    }
}

fn main() -> ExitCode {
    hookbox::App::new()
        .handler_with(|settings: BookReceipt| Ok(settings))
        .main()
}

#[cfg(test)]
mod tests;
