//! The table `starts` of start markers: it counts how often a handler was started on an event,
//! until a process reports that it has survived such a start.
//!
//! Each start is written by a statement of its own. This is cheap enough, because only starts on
//! redelivered events are counted, and those are at most one batch at a time.

use hookbox_driver::{CountedStart, Start, StartCounts, StartKind};
use hookbox_event::{InstanceId, RouteName};
use sqlx::sqlite::SqliteConnection;

use crate::column::Columns;

/// The process id in a row after a process has subtracted a start that it had counted. A process
/// counts no start in a row that already has its own id. No process has this id, so the next start
/// is counted again, whichever process makes it.
const NO_PROCESS: &[u8; 16] = &[0; 16];

/// Returns the counts of handler starts for each of these keys, in the order given.
pub(crate) async fn counted(
    connection: &mut SqliteConnection,
    route: &RouteName,
    of: &[Start],
) -> sqlx::Result<Vec<StartCounts>> {
    let mut counts = Vec::with_capacity(of.len());
    for start in of {
        let row = sqlx::query(
            "select starts, isolated, unproven from starts
             where receipt_id = ?1 and attempt = ?2 and route = ?3",
        )
        .bind(&start.receipt.as_bytes()[..])
        .bind(start.attempt)
        .bind(route.as_str())
        .fetch_optional(&mut *connection)
        .await?;
        counts.push(match row {
            Some(row) => StartCounts {
                all: row.attempt("starts")?,
                isolated: row.attempt("isolated")?,
                unproven: row.attempt("unproven")?,
            },
            None => StartCounts::default(),
        });
    }
    Ok(counts)
}

/// Counts one more handler start for each key. A key whose last start was counted by this process
/// (`by`) is left as it is, so that a repeated call counts nothing twice.
pub(crate) async fn count(
    connection: &mut SqliteConnection,
    (route, by, kind): (&RouteName, &InstanceId, StartKind),
    on: &[Start],
    now: i64,
) -> sqlx::Result<()> {
    let (isolated, unproven) = kind.adds();
    for start in on {
        sqlx::query(
            "insert into starts (receipt_id, attempt, route, starts, started_at, started_by,
                                 isolated, unproven)
             values (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7)
             on conflict (receipt_id, attempt, route) do update
             set starts = starts.starts + 1, started_at = excluded.started_at,
                 started_by = excluded.started_by,
                 isolated = starts.isolated + excluded.isolated,
                 unproven = starts.unproven + excluded.unproven
             where starts.started_by <> excluded.started_by",
        )
        .bind(&start.receipt.as_bytes()[..])
        .bind(start.attempt)
        .bind(route.as_str())
        .bind(now)
        .bind(&by.as_bytes()[..])
        .bind(isolated)
        .bind(unproven)
        .execute(&mut *connection)
        .await?;
    }
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

/// Clears the start markers of these keys.
pub(crate) async fn forget(
    connection: &mut SqliteConnection,
    route: &RouteName,
    of: &[Start],
) -> sqlx::Result<()> {
    for start in of {
        sqlx::query("delete from starts where receipt_id = ?1 and attempt = ?2 and route = ?3")
            .bind(&start.receipt.as_bytes()[..])
            .bind(start.attempt)
            .bind(route.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
