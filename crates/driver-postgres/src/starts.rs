//! The table `starts` of start markers: it counts how often a handler was started on a redelivered
//! event, until a process reports that it has survived such a start.

use std::collections::HashMap;

use hookbox_driver::{CountedStart, Start, StartCounts, StartKind};
use hookbox_event::{InstanceId, ReceiptId, RouteName};
use sqlx::{Error, PgConnection};
use uuid::Uuid;

use crate::column::{Columns, integer, uuid};

/// The process id that a row gets when a process subtracts a start that it had counted. A process
/// counts no start in a row that already has its own id. No process has the id zero, so the next
/// start is counted again, whichever process makes it.
const NO_PROCESS: &[u8; 16] = &[0; 16];

/// Returns how many starts of a handler are counted on each of the given keys (receipt and
/// attempt), in the order given.
pub(crate) async fn counted(
    c: &mut PgConnection,
    route: &RouteName,
    of: &[Start],
) -> Result<Vec<StartCounts>, Error> {
    let (receipts, _) = keys(of);
    let rows = sqlx::query(
        "select receipt_id, attempt, starts, isolated, unproven from starts
         where route = $1 and receipt_id = any ($2)",
    )
    .bind(route.as_str())
    .bind(receipts)
    .fetch_all(c)
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let start = Start {
            receipt: row.id16("receipt_id", ReceiptId::from_bytes)?,
            attempt: row.attempt("attempt")?,
        };
        let counts = StartCounts {
            all: row.attempt("starts")?,
            isolated: row.attempt("isolated")?,
            unproven: row.attempt("unproven")?,
        };
        found.insert(start, counts);
    }
    let count = |start| found.get(start).copied().unwrap_or_default();
    Ok(of.iter().map(count).collect())
}

/// Counts one more handler start for each key (receipt and attempt), in the order of the keys. A
/// key whose last start was counted by this process (`by`) is left as it is, so that a repeated
/// call counts nothing twice.
pub(crate) async fn count(
    c: &mut PgConnection,
    route: &RouteName,
    by: &InstanceId,
    kind: StartKind,
    on: &[Start],
) -> Result<(), Error> {
    let (receipts, attempts) = keys(on);
    let (isolated, unproven) = kind.adds();
    sqlx::query(
        "insert into starts (route, receipt_id, attempt, starts, started_by, isolated, unproven)
         select $1, receipt_id, attempt, 1, $4, $5, $6
         from unnest($2::uuid[], $3::integer[]) as started (receipt_id, attempt)
         order by receipt_id, attempt
         on conflict (receipt_id, attempt, route) do update
         set starts = least(starts.starts, 2147483646) + 1, started_at = now(),
             started_by = excluded.started_by,
             isolated = least(starts.isolated, 2147483646) + excluded.isolated,
             unproven = least(starts.unproven, 2147483646) + excluded.unproven
         where starts.started_by <> excluded.started_by",
    )
    .bind(route.as_str())
    .bind(receipts)
    .bind(attempts)
    .bind(uuid(by.as_bytes()))
    .bind(integer(isolated))
    .bind(integer(unproven))
    .execute(c)
    .await?;
    Ok(())
}

/// Subtracts one handler start that this process has counted, because the process has survived it
/// and runs the handler again only later.
pub(crate) async fn retract(
    c: &mut PgConnection,
    route: &RouteName,
    by: &InstanceId,
    counted: CountedStart,
    of: Start,
) -> Result<(), Error> {
    let (isolated, unproven) = counted.kind.adds();
    sqlx::query(
        "with only_start as (
             delete from starts
             where receipt_id = $1 and attempt = $2 and route = $3
                 and (started_by = $4 or $8) and starts = 1
         )
         update starts
         set starts = starts - 1,
             started_by = case when started_by = $4 then $5 else started_by end,
             isolated = greatest(isolated - $6, 0), unproven = greatest(unproven - $7, 0)
         where receipt_id = $1 and attempt = $2 and route = $3
             and (started_by = $4 or $8) and starts > 1",
    )
    .bind(uuid(of.receipt.as_bytes()))
    .bind(integer(of.attempt))
    .bind(route.as_str())
    .bind(uuid(by.as_bytes()))
    .bind(uuid(NO_PROCESS))
    .bind(integer(isolated))
    .bind(integer(unproven))
    .bind(counted.is_certain)
    .execute(c)
    .await?;
    Ok(())
}

/// Clears the start markers of the given keys (receipt and attempt), in the order of the keys.
pub(crate) async fn forget(
    c: &mut PgConnection,
    route: &RouteName,
    of: &[Start],
) -> Result<(), Error> {
    let (receipts, attempts) = keys(of);
    sqlx::query(
        "delete from starts using (
             select receipt_id, attempt from starts
             where route = $1 and (receipt_id, attempt) in (
                 select * from unnest($2::uuid[], $3::integer[])
             )
             order by receipt_id, attempt for update
         ) as survived
         where starts.route = $1 and starts.receipt_id = survived.receipt_id
             and starts.attempt = survived.attempt",
    )
    .bind(route.as_str())
    .bind(receipts)
    .bind(attempts)
    .execute(c)
    .await?;
    Ok(())
}

fn keys(starts: &[Start]) -> (Vec<Uuid>, Vec<i32>) {
    let key = |start: &Start| (uuid(start.receipt.as_bytes()), integer(start.attempt));
    starts.iter().map(key).unzip()
}
