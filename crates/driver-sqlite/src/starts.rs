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
            "SELECT starts, isolated, unproven FROM starts
             WHERE receipt_id = ?1 AND attempt = ?2 AND route = ?3",
        )
        .bind(&start.receipt.as_bytes()[..])
        .bind(start.attempt)
        .bind(route.as_str())
        .fetch_optional(&mut *connection)
        .await?;
        counts.push(match row {
            Some(row) => StartCounts {
                all: row.small("starts")?,
                isolated: row.small("isolated")?,
                unproven: row.small("unproven")?,
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
            "INSERT INTO starts (receipt_id, attempt, route, starts, started_at, started_by,
                                 isolated, unproven)
             VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7)
             ON CONFLICT (receipt_id, attempt, route) DO UPDATE
             SET starts = starts.starts + 1, started_at = excluded.started_at,
                 started_by = excluded.started_by,
                 isolated = starts.isolated + excluded.isolated,
                 unproven = starts.unproven + excluded.unproven
             WHERE starts.started_by <> excluded.started_by",
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
        "DELETE FROM starts
         WHERE receipt_id = ?1 AND attempt = ?2 AND route = ?3
             AND (started_by = ?4 OR ?5) AND starts = 1",
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
        "UPDATE starts
         SET starts = starts - 1,
             started_by = CASE WHEN started_by = ?4 THEN ?5 ELSE started_by END,
             isolated = max(isolated - ?6, 0), unproven = max(unproven - ?7, 0)
         WHERE receipt_id = ?1 AND attempt = ?2 AND route = ?3
             AND (started_by = ?4 OR ?8) AND starts > 1",
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
        sqlx::query("DELETE FROM starts WHERE receipt_id = ?1 AND attempt = ?2 AND route = ?3")
            .bind(&start.receipt.as_bytes()[..])
            .bind(start.attempt)
            .bind(route.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
