//! Finds ingests that have not sent their closing report, and have sent no accept report for a long
//! time.

use std::time::Duration;

use hookbox_driver::SilentIngest;
use hookbox_event::InstanceId;
use sqlx::postgres::PgRow;
use sqlx::{Error, PgConnection};

use crate::column::Columns;

/// See [`hookbox_driver::Ledger::silent`].
pub(crate) async fn read(
    c: &mut PgConnection,
    limit: u32,
    silent: Duration,
) -> Result<Vec<SilentIngest>, Error> {
    let rows = sqlx::query(
        "select instance, max(last) as reported,
                greatest(extract(epoch from now() - max(heard_at)), 0)::bigint as seconds
         from accounts group by instance
         having not bool_or(closing) and max(heard_at) < now() - make_interval(secs => $2)
         order by max(heard_at), instance limit $1",
    )
    .bind(i64::from(limit))
    .bind(silent.as_secs_f64())
    .fetch_all(c)
    .await?;
    let one = |row: &PgRow| {
        Ok(SilentIngest {
            instance: row.id16("instance", InstanceId::from_bytes)?,
            reported: row.count("reported")?,
            seconds: row.count("seconds")?,
        })
    };
    rows.iter().map(one).collect()
}
