//! The table `starts` of start markers: it counts how often a handler was started on a redelivered
//! event, until a process reports that it has survived such a start.

use std::collections::HashMap;

use hookbox_driver::{CountedStart, Start, StartCounts, StartKind};
use hookbox_event::{InstanceId, RouteName};
use sqlx::sqlite::SqliteConnection;

use crate::column::{Columns, hex, json_list};

/// The process id that a row gets when a process subtracts a start that it had counted. A process
/// counts no start in a row that already has its own id. No process has the id zero, so the next
/// start is counted again, whichever process makes it.
const NO_PROCESS: &[u8; 16] = &[0; 16];

/// The statement of [`forget`].
pub(crate) const FORGET: &str = "delete from starts
     where (receipt_id, attempt, route) in (
         select unhex(value ->> 0), value ->> 1, ?2 from json_each(?1))";

/// Returns how many starts of a handler are counted on each of the given keys (receipt and
/// attempt), in the order given.
pub(crate) async fn counted(
    connection: &mut SqliteConnection,
    route: &RouteName,
    of: &[Start],
) -> sqlx::Result<Vec<StartCounts>> {
    let rows = sqlx::query(
        "select s.receipt_id, s.attempt, s.starts, s.isolated, s.unproven
         from json_each(?2) as wanted
         cross join starts as s on s.receipt_id = unhex(wanted.value ->> 0)
             and s.attempt = wanted.value ->> 1 and s.route = ?1",
    )
    .bind(route.as_str())
    .bind(keys(of))
    .fetch_all(connection)
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let start = Start {
            receipt: row.receipt("receipt_id")?,
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

/// Counts one more handler start for each key (receipt and attempt). A key whose last start was
/// counted by this process (`by`) is left as it is, so that a repeated call counts nothing twice.
pub(crate) async fn count(
    connection: &mut SqliteConnection,
    (route, by, kind): (&RouteName, &InstanceId, StartKind),
    on: &[Start],
    now: i64,
) -> sqlx::Result<()> {
    let (isolated, unproven) = kind.adds();
    sqlx::query(
        "insert into starts (receipt_id, attempt, route, starts, started_at, started_by,
                             isolated, unproven)
         select unhex(value ->> 0), value ->> 1, ?1, 1, ?3, ?4, ?5, ?6 from json_each(?2)
         where true
         on conflict (receipt_id, attempt, route) do update
         set starts = starts.starts + 1, started_at = excluded.started_at,
             started_by = excluded.started_by,
             isolated = starts.isolated + excluded.isolated,
             unproven = starts.unproven + excluded.unproven
         where starts.started_by <> excluded.started_by",
    )
    .bind(route.as_str())
    .bind(keys(on))
    .bind(now)
    .bind(&by.as_bytes()[..])
    .bind(isolated)
    .bind(unproven)
    .execute(connection)
    .await?;
    Ok(())
}

/// Subtracts one handler start that this process has counted, because the process has survived it
/// and runs the handler again only later.
pub(crate) async fn retract(
    connection: &mut SqliteConnection,
    route: &RouteName,
    by: &InstanceId,
    counted: CountedStart,
    of: Start,
) -> sqlx::Result<()> {
    sqlx::query(
        "delete from starts
         where receipt_id = ?1 and attempt = ?2 and route = ?3
             and (started_by = ?4 or ?5) and starts = 1",
    )
    .bind(&of.receipt.as_bytes()[..])
    .bind(of.attempt)
    .bind(route.as_str())
    .bind(&by.as_bytes()[..])
    .bind(counted.is_certain)
    .execute(&mut *connection)
    .await?;
    let (isolated, unproven) = counted.kind.adds();
    sqlx::query(
        "update starts
         set starts = starts - 1,
             started_by = case when started_by = ?4 then ?5 else started_by end,
             isolated = max(isolated - ?6, 0), unproven = max(unproven - ?7, 0)
         where receipt_id = ?1 and attempt = ?2 and route = ?3
             and (started_by = ?4 or ?8) and starts > 1",
    )
    .bind(&of.receipt.as_bytes()[..])
    .bind(of.attempt)
    .bind(route.as_str())
    .bind(&by.as_bytes()[..])
    .bind(&NO_PROCESS[..])
    .bind(isolated)
    .bind(unproven)
    .bind(counted.is_certain)
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// Clears the start markers of the given keys (receipt and attempt).
pub(crate) async fn forget(
    connection: &mut SqliteConnection,
    route: &RouteName,
    of: &[Start],
) -> sqlx::Result<()> {
    sqlx::query(FORGET)
        .bind(keys(of))
        .bind(route.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Returns the keys as a JSON list: for each the receipt in hex, and the attempt.
fn keys(starts: &[Start]) -> String {
    let key = |start: &Start| format!("[{},{}]", hex(start.receipt.as_bytes()), start.attempt);
    json_list(starts.iter().map(key))
}
