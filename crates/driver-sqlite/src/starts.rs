//! The table `starts`: handlers that were started, and of which nobody has heard since.

use std::collections::HashMap;

use hookbox_event::{ReceiptId, RouteName};
use sqlx::QueryBuilder;
use sqlx::sqlite::SqliteConnection;

use crate::column::{Columns, hex_list};

/// How often each of these was started, in the order given.
pub(crate) async fn of_receipts(
    connection: &mut SqliteConnection,
    route: &RouteName,
    receipts: &[ReceiptId],
) -> sqlx::Result<Vec<u32>> {
    let rows = sqlx::query(
        "SELECT receipt_id, starts FROM starts
         WHERE route = ?1 AND receipt_id IN (SELECT unhex(value) FROM json_each(?2))",
    )
    .bind(route.as_str())
    .bind(hex_list(receipts.iter().map(ReceiptId::as_bytes)))
    .fetch_all(connection)
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        found.insert(row.receipt("receipt_id")?, row.small("starts")?);
    }
    let of = |receipt| found.get(receipt).copied().unwrap_or(0);
    Ok(receipts.iter().map(of).collect())
}

/// Counts one more start of each.
pub(crate) async fn count(
    connection: &mut SqliteConnection,
    route: &RouteName,
    receipts: &[ReceiptId],
    now: i64,
) -> sqlx::Result<()> {
    for receipts in receipts.chunks(crate::ROWS_MAX) {
        let mut insert = QueryBuilder::<sqlx::Sqlite>::new(
            "INSERT INTO starts (route, receipt_id, starts, started_at) ",
        );
        insert.push_values(receipts, |mut row, receipt| {
            row.push_bind(route.as_str())
                .push_bind(&receipt.as_bytes()[..])
                .push_bind(1_i64)
                .push_bind(now);
        });
        insert.push(
            " ON CONFLICT (receipt_id, route) DO UPDATE
             SET starts = starts.starts + 1, started_at = excluded.started_at",
        );
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Forgets the starts of these.
pub(crate) async fn forget(
    connection: &mut SqliteConnection,
    route: &RouteName,
    receipts: &[ReceiptId],
) -> sqlx::Result<()> {
    sqlx::query(
        "DELETE FROM starts
         WHERE route = ?1 AND receipt_id IN (SELECT unhex(value) FROM json_each(?2))",
    )
    .bind(route.as_str())
    .bind(hex_list(receipts.iter().map(ReceiptId::as_bytes)))
    .execute(connection)
    .await?;
    Ok(())
}
