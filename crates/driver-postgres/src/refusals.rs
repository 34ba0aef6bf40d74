//! The table `refusals`: the newest requests that were not accepted, as digests.

use hookbox_driver::Refusal;
use hookbox_event::ReceiptId;
use sqlx::{Error, PgConnection, Row};

use crate::column::{Columns, bigint, moment, text, uuid};

/// How many are kept: some days of a misconfigured sender, or some minutes of an attacker, and
/// never more than a few megabytes.
const KEPT: i64 = 10_000;

/// Keeps refusals.
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

/// Forgets all but the newest. Two callers at once must not wait for each other in a circle, so
/// what another one is deleting is passed over.
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

/// The newest, newest first.
pub(crate) async fn newest(c: &mut PgConnection, limit: u32) -> Result<Vec<Refusal>, Error> {
    let rows = sqlx::query(
        "select request, source, reason, body_digest, body_bytes, peer, at
         from refusals order by at desc, request desc limit $1",
    )
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
                at: row.at("at")?,
            })
        })
        .collect()
}
