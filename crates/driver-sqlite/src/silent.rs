//! Finds ingests that have not sent their closing report, and have sent no accept report for a long
//! time.

use std::time::Duration;

use hookbox_driver::SilentIngest;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::column::Columns;
use crate::moment;

/// See [`hookbox_driver::Ledger::silent`].
pub(crate) async fn read(
    c: &mut SqliteConnection,
    limit: u32,
    silent: Duration,
) -> sqlx::Result<Vec<SilentIngest>> {
    let rows = sqlx::query(
        "select instance, max(last) as reported,
                max(?2 - max(coalesce(heard_at, told_at)), 0) / 1000000 as seconds
         from accounts group by instance
         having not max(closing) and max(coalesce(heard_at, told_at)) < ?2 - ?3
         order by max(coalesce(heard_at, told_at)), instance limit ?1",
    )
    .bind(limit)
    .bind(moment::now())
    .bind(i64::try_from(silent.as_micros()).unwrap_or(i64::MAX / 2))
    .fetch_all(c)
    .await?;
    let one = |row: &SqliteRow| {
        Ok(SilentIngest {
            instance: row.instance("instance")?,
            reported: row.count("reported")?,
            seconds: row.count("seconds")?,
        })
    };
    rows.iter().map(one).collect()
}
