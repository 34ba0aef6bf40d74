//! The table `starts`: handlers that were started, and of which nobody has heard since.

use std::collections::HashMap;

use hookbox_event::{ReceiptId, RouteName};
use sqlx::{Error, PgConnection};
use uuid::Uuid;

use crate::column::{Columns, uuid};

/// How often each of these was started, in the order given.
pub(crate) async fn of_receipts(
    c: &mut PgConnection,
    route: &RouteName,
    receipts: &[ReceiptId],
) -> Result<Vec<u32>, Error> {
    let rows = sqlx::query(
        "select receipt_id, starts from starts where route = $1 and receipt_id = any ($2)",
    )
    .bind(route.as_str())
    .bind(ids(receipts))
    .fetch_all(c)
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        found.insert(
            row.id16("receipt_id", ReceiptId::from_bytes)?,
            row.attempt("starts")?,
        );
    }
    let of = |receipt| found.get(receipt).copied().unwrap_or(0);
    Ok(receipts.iter().map(of).collect())
}

/// Counts one more start of each, in the order of their ids.
pub(crate) async fn count(
    c: &mut PgConnection,
    route: &RouteName,
    receipts: &[ReceiptId],
) -> Result<(), Error> {
    sqlx::query(
        "insert into starts (route, receipt_id, starts)
         select $1, started.receipt_id, 1 from unnest($2::uuid[]) as started (receipt_id)
         order by started.receipt_id
         on conflict (receipt_id, route) do update
         set starts = least(starts.starts, 2147483646) + 1, started_at = now()",
    )
    .bind(route.as_str())
    .bind(ids(receipts))
    .execute(c)
    .await?;
    Ok(())
}

/// Forgets the starts of these, in the order of their ids.
pub(crate) async fn forget(
    c: &mut PgConnection,
    route: &RouteName,
    receipts: &[ReceiptId],
) -> Result<(), Error> {
    sqlx::query(
        "delete from starts using (
             select receipt_id from starts where route = $1 and receipt_id = any ($2)
             order by receipt_id for update
         ) as survived
         where starts.route = $1 and starts.receipt_id = survived.receipt_id",
    )
    .bind(route.as_str())
    .bind(ids(receipts))
    .execute(c)
    .await?;
    Ok(())
}

fn ids(receipts: &[ReceiptId]) -> Vec<Uuid> {
    receipts.iter().map(|it| uuid(it.as_bytes())).collect()
}
