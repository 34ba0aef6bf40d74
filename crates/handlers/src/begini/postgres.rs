//! Writes Begini's typed rows to PostgreSQL: one statement for each table, with an array for each
//! column. Rows that another route has written for the same event stay, because they are the same.

use hookbox_event::EventNumber;
use sqlx::{Error, PgConnection};

use super::payload::{Application, Score};
use super::rows::Rows;

const INSERT_SCORES: &str = "insert into begini_scores (event, integration_id, uid, kind, \
     platform, score, risk_band, score_confidence, application_started_at, \
     application_completed_at, scored_at, other) \
     select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], \
     $6::bigint[], $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], \
     $12::text[]) on conflict do nothing";

const INSERT_TRAITS: &str = "insert into begini_score_traits (event, position, key, value, \
     risk_band, other) \
     select * from unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[]) \
     on conflict do nothing";

const INSERT_APPLICATIONS: &str = "insert into begini_applications (event, integration_id, \
     uid, status, started_at, ended_at, percentages, reasons, other) \
     select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], \
     $6::bigint[], $7::text[], $8::text[], $9::text[]) on conflict do nothing";

/// Deletes the rows that an earlier round has written for some events.
const DELETE: [&str; 3] = [
    "delete from begini_score_traits where event = any ($1)",
    "delete from begini_scores where event = any ($1)",
    "delete from begini_applications where event = any ($1)",
];

/// Inserts all rows, with at most one round trip for each table. Rows of an earlier round are
/// deleted first.
pub(super) async fn write(tx: &mut PgConnection, rows: &Rows<'_>) -> Result<(), Error> {
    if !rows.replayed.is_empty() {
        let events: Vec<i64> = rows.replayed.iter().map(|event| event.as_i64()).collect();
        for delete in DELETE {
            sqlx::query(delete).bind(&events).execute(&mut *tx).await?;
        }
    }
    if !rows.scores.is_empty() {
        scores(tx, &rows.scores).await?;
        traits(tx, &rows.scores).await?;
    }
    if !rows.applications.is_empty() {
        applications(tx, &rows.applications).await?;
    }
    Ok(())
}

/// Returns one column of some rows.
fn column<'r, R, T: 'r>(rows: &'r [(EventNumber, R)], of: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(|(_, row)| of(row)).collect()
}

fn numbers<R>(rows: &[(EventNumber, R)]) -> Vec<i64> {
    rows.iter().map(|(event, _)| event.as_i64()).collect()
}

async fn scores(tx: &mut PgConnection, rows: &[(EventNumber, &Score)]) -> Result<(), Error> {
    sqlx::query(INSERT_SCORES)
        .bind(numbers(rows))
        .bind(column(rows, |it| it.integration_id.as_str()))
        .bind(column(rows, |it| it.uid.as_str()))
        .bind(column(rows, |it| it.kind))
        .bind(column(rows, |it| it.platform.as_deref()))
        .bind(column(rows, |it| it.score))
        .bind(column(rows, |it| it.risk_band.as_deref()))
        .bind(column(rows, |it| it.score_confidence.as_deref()))
        .bind(column(rows, |it| it.application_started_at))
        .bind(column(rows, |it| it.application_completed_at))
        .bind(column(rows, |it| it.scored_at))
        .bind(column(rows, |it| it.other.as_str()))
        .execute(tx)
        .await?;
    Ok(())
}

async fn traits(tx: &mut PgConnection, rows: &[(EventNumber, &Score)]) -> Result<(), Error> {
    let mut all = Vec::new();
    for (event, score) in rows {
        all.extend((0_i32..).zip(&score.traits).map(|one| (*event, one)));
    }
    if all.is_empty() {
        return Ok(());
    }
    sqlx::query(INSERT_TRAITS)
        .bind(numbers(&all))
        .bind(column(&all, |(position, _)| *position))
        .bind(column(&all, |(_, one)| one.key.as_str()))
        .bind(column(&all, |(_, one)| one.value.as_str()))
        .bind(column(&all, |(_, one)| one.risk_band.as_deref()))
        .bind(column(&all, |(_, one)| one.other.as_str()))
        .execute(tx)
        .await?;
    Ok(())
}

async fn applications(
    tx: &mut PgConnection,
    rows: &[(EventNumber, &Application)],
) -> Result<(), Error> {
    sqlx::query(INSERT_APPLICATIONS)
        .bind(numbers(rows))
        .bind(column(rows, |it| it.integration_id.as_str()))
        .bind(column(rows, |it| it.uid.as_str()))
        .bind(column(rows, |it| it.status))
        .bind(column(rows, |it| it.started_at))
        .bind(column(rows, |it| it.ended_at))
        .bind(column(rows, |it| it.percentages.as_str()))
        .bind(column(rows, |it| it.reasons.as_deref()))
        .bind(column(rows, |it| it.other.as_str()))
        .execute(tx)
        .await?;
    Ok(())
}
