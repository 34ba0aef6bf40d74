//! The table `refusals`: the newest refused requests, so that operators see what is refused. Of
//! each body only the digest and the length are stored.

use hookbox_driver::{Refusal, RefusalCursor, RefusalFilter, RefusalGroup, storable};
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};

use crate::column::Columns;
use crate::conditions::{push_times, push_words};

/// The number of refusals that are kept. They cover some days of a misconfigured sender, or some
/// minutes of an attack, and take at most a few megabytes.
const KEPT: i64 = 10_000;

/// Stores refusals, and deletes the oldest ones so that [`KEPT`] remain.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    refusals: &[Refusal],
) -> sqlx::Result<()> {
    for refusals in refusals.chunks(crate::ROWS_MAX) {
        let mut insert = QueryBuilder::<sqlx::Sqlite>::new(
            "insert into refusals (request, source, reason, body_digest, body_bytes, peer, at) ",
        );
        insert.push_values(refusals, |mut row, refusal| {
            row.push_bind(&refusal.request.as_bytes()[..])
                .push_bind(storable(&refusal.source))
                .push_bind(storable(&refusal.reason))
                .push_bind(refusal.body_digest.as_deref())
                .push_bind(i64::try_from(refusal.body_bytes).unwrap_or(i64::MAX))
                .push_bind(storable(&refusal.peer))
                .push_bind(refusal.at.unix_micros());
        });
        insert.push(" on conflict do nothing");
        insert.build().execute(&mut *connection).await?;
    }
    sqlx::query("delete from refusals where number <= (select max(number) from refusals) - ?1")
        .bind(KEPT)
        .execute(connection)
        .await?;
    Ok(())
}

/// Lists refusals after the cursor `after`, newest first.
pub(crate) async fn list(
    connection: &mut SqliteConnection,
    filter: &RefusalFilter,
    after: Option<&RefusalCursor>,
    limit: u32,
) -> sqlx::Result<Vec<Refusal>> {
    let mut select = select(filter, after, limit);
    let rows = select.build().fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            Ok(Refusal {
                request: row.receipt("request")?,
                source: row.text("source")?,
                reason: row.text("reason")?,
                body_digest: row.text_or_none("body_digest")?,
                body_bytes: row.count("body_bytes")?,
                peer: row.text("peer")?,
                at: row.moment("at")?,
            })
        })
        .collect()
}

/// Builds the statement for one page of the list.
pub(crate) fn select(
    filter: &RefusalFilter,
    after: Option<&RefusalCursor>,
    limit: u32,
) -> QueryBuilder<Sqlite> {
    let mut select = QueryBuilder::new(
        "select request, source, reason, body_digest, body_bytes, peer, at from refusals",
    );
    push(&mut select, filter);
    if let Some(after) = after {
        select.push(" and (at, request) < (");
        select.push_bind(after.at.unix_micros()).push(", ");
        select
            .push_bind(after.request.as_bytes().to_vec())
            .push(")");
    }
    select
        .push(" order by at desc, request desc limit ")
        .push_bind(limit);
    select
}

fn push(select: &mut QueryBuilder<Sqlite>, filter: &RefusalFilter) {
    select.push(" where true");
    push_words(
        select,
        [
            (" and source = ", filter.source.as_deref()),
            (" and reason = ", filter.reason.as_deref()),
        ],
    );
    push_times(select, "at", filter.since, filter.until);
}

/// Groups refusals by source and reason; the largest group comes first.
pub(crate) async fn groups(
    connection: &mut SqliteConnection,
    filter: &RefusalFilter,
) -> sqlx::Result<Vec<RefusalGroup>> {
    let mut select = QueryBuilder::new(
        "select source, reason, count(*) as refused, count(distinct peer) as peers,
                min(at) as first_at, max(at) as last_at
         from refusals",
    );
    push(&mut select, filter);
    select.push(" group by source, reason order by refused desc, source, reason");
    let rows = select.build().fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            Ok(RefusalGroup {
                source: row.text("source")?,
                reason: row.text("reason")?,
                count: row.count("refused")?,
                peers: row.count("peers")?,
                first_at: row.moment("first_at")?,
                last_at: row.moment("last_at")?,
            })
        })
        .collect()
}
