//! The table `refusals`: the newest refused requests, so that operators see what is refused. Of
//! each body only the digest and the length are stored.

use hookbox_driver::{Refusal, RefusalCursor, RefusalFilter, RefusalGroup};
use hookbox_event::ReceiptId;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Error, PgConnection, Postgres, Row};

use crate::column::{Columns, bigint, moment, text, uuid};

/// The number of refusals that are kept. They cover some days of a misconfigured sender, or some
/// minutes of an attack, and take at most a few megabytes.
const KEPT: i64 = 10_000;

/// Stores refusals.
pub(crate) async fn insert(c: &mut PgConnection, refusals: &[Refusal]) -> Result<(), Error> {
    let requests: Vec<_> = refusals
        .iter()
        .map(|r| uuid(r.request.as_bytes()))
        .collect();
    let sources: Vec<_> = refusals.iter().map(|r| text(&r.source)).collect();
    let reasons: Vec<_> = refusals.iter().map(|r| text(&r.reason)).collect();
    let digests: Vec<_> = refusals
        .iter()
        .map(|r| r.body_digest.as_deref().map(text))
        .collect();
    let lengths: Vec<i64> = refusals.iter().map(|r| bigint(r.body_bytes)).collect();
    let peers: Vec<_> = refusals.iter().map(|r| text(&r.peer)).collect();
    let moments: Vec<_> = refusals.iter().map(|r| moment(r.at)).collect();
    sqlx::query(
        "insert into refusals (request, source, reason, body_digest, body_bytes, peer, at)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[],
                              $6::text[], $7::timestamptz[])
         order by 1
         on conflict do nothing",
    )
    .bind(requests)
    .bind(sources)
    .bind(reasons)
    .bind(digests)
    .bind(lengths)
    .bind(peers)
    .bind(moments)
    .execute(c)
    .await?;
    Ok(())
}

/// Deletes all but the newest [`KEPT`] refusals. It skips rows that another caller is deleting at
/// the moment, so that two concurrent callers cannot deadlock.
pub(crate) async fn prune(c: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(
        "delete from refusals where request in (
             select request from refusals
             where (at, request) <= (select at, request from refusals
                                     order by at desc, request desc offset $1 limit 1)
             for update skip locked
         )",
    )
    .bind(KEPT)
    .execute(c)
    .await?;
    Ok(())
}

/// The SQL conditions of a [`RefusalFilter`]. They use the statement's arguments `$1` to `$4`.
macro_rules! matching {
    () => {
        "($1::text is null or source = $1)
         and ($2::text is null or reason = $2)
         and ($3::timestamptz is null or at >= $3)
         and ($4::timestamptz is null or at < $4)"
    };
}

/// Binds the filter to the statement's arguments `$1` to `$4`.
fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    filter: &'q RefusalFilter,
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(filter.source.as_deref())
        .bind(filter.reason.as_deref())
        .bind(filter.since.map(moment))
        .bind(filter.until.map(moment))
}

/// Lists refusals after the cursor `after`, newest first.
pub(crate) async fn list(
    c: &mut PgConnection,
    filter: &RefusalFilter,
    after: Option<&RefusalCursor>,
    limit: u32,
) -> Result<Vec<Refusal>, Error> {
    let query = sqlx::query(concat!(
        "select request, source, reason, body_digest, body_bytes, peer, at from refusals where ",
        matching!(),
        " and ($5::timestamptz is null or (at, request) < ($5, $6::uuid))
         order by at desc, request desc limit $7"
    ));
    let rows = bind(query, filter)
        .bind(after.map(|after| moment(after.at)))
        .bind(after.map(|after| uuid(after.request.as_bytes())))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Refusal {
                request: row.id16("request", ReceiptId::from_bytes)?,
                source: row.try_get("source")?,
                reason: row.try_get("reason")?,
                body_digest: row.try_get("body_digest")?,
                body_bytes: row.count("body_bytes")?,
                peer: row.try_get("peer")?,
                at: row.moment("at")?,
            })
        })
        .collect()
}

/// Groups refusals by source and reason; the largest group comes first.
pub(crate) async fn groups(
    c: &mut PgConnection,
    filter: &RefusalFilter,
) -> Result<Vec<RefusalGroup>, Error> {
    let query = sqlx::query(concat!(
        "select source, reason, count(*) as count, count(distinct peer) as peers,
                min(at) as first_at, max(at) as last_at
         from refusals where ",
        matching!(),
        " group by source, reason order by count(*) desc, source, reason"
    ));
    let rows = bind(query, filter).fetch_all(c).await?;
    rows.iter()
        .map(|row| {
            Ok(RefusalGroup {
                source: row.try_get("source")?,
                reason: row.try_get("reason")?,
                count: row.count("count")?,
                peers: row.count("peers")?,
                first_at: row.moment("first_at")?,
                last_at: row.moment("last_at")?,
            })
        })
        .collect()
}
