//! Writes Begini's typed rows to SQLite: statements that insert many rows each. Rows that another
//! route has written for the same event stay, because they are the same.

use hookbox_event::EventNumber;
use sqlx::query_builder::Separated;
use sqlx::{Error, QueryBuilder, Sqlite, SqliteConnection};

use super::payload::{Application, Score, Trait};
use super::rows::Rows;

/// The numbers of rows that one statement may insert. The largest number that is not too large for
/// the remaining rows is used. With few sizes there are few different statements, so all of them
/// stay prepared. 64 rows are a full batch. They have at most 768 parameters, and SQLite allows
/// 32,766.
const SIZES: [usize; 4] = [64, 16, 4, 1];

const SCORES: &str = "insert into begini_scores (event, integration_id, uid, kind, platform, \
     score, risk_band, score_confidence, application_started_at, application_completed_at, \
     scored_at, other) ";

const TRAITS: &str =
    "insert into begini_score_traits (event, position, key, value, risk_band, other) ";

const APPLICATIONS: &str = "insert into begini_applications (event, integration_id, uid, \
     status, started_at, ended_at, percentages, reasons, other) ";

/// Deletes the rows that an earlier round has written for an event.
const DELETE: [&str; 3] = [
    "delete from begini_score_traits where event = ?1",
    "delete from begini_scores where event = ?1",
    "delete from begini_applications where event = ?1",
];

/// Inserts all rows. Rows of an earlier round are deleted first.
pub(super) async fn write(tx: &mut SqliteConnection, rows: &Rows<'_>) -> Result<(), Error> {
    for event in &rows.replayed {
        for delete in DELETE {
            let delete = sqlx::query(delete).bind(event.as_i64());
            delete.execute(&mut *tx).await?;
        }
    }
    insert(tx, SCORES, &rows.scores, score).await?;
    let mut traits = Vec::new();
    for (event, score) in &rows.scores {
        traits.extend((0_i32..).zip(&score.traits).map(|one| (*event, one)));
    }
    insert(tx, TRAITS, &traits, one_trait).await?;
    insert(tx, APPLICATIONS, &rows.applications, application).await
}

type Row<'s> = Separated<'s, Sqlite, &'static str>;

/// Inserts rows, with as few statements as [`SIZES`] allow. `bind` binds the columns of a row.
async fn insert<R>(
    tx: &mut SqliteConnection,
    into: &'static str,
    rows: &[(EventNumber, R)],
    bind: impl Fn(&mut Row<'_>, EventNumber, &R),
) -> Result<(), Error> {
    let mut rest = rows;
    for size in SIZES {
        while let Some((now, later)) = rest.split_at_checked(size) {
            let mut statement = QueryBuilder::<Sqlite>::new(into);
            statement.push_values(now, |mut row, (event, of)| bind(&mut row, *event, of));
            statement.push(" on conflict do nothing");
            statement.build().execute(&mut *tx).await?;
            rest = later;
        }
    }
    Ok(())
}

fn score(row: &mut Row<'_>, event: EventNumber, it: &&Score) {
    row.push_bind(event.as_i64())
        .push_bind(it.integration_id.as_str())
        .push_bind(it.uid.as_str())
        .push_bind(it.kind)
        .push_bind(it.platform.as_deref())
        .push_bind(it.score)
        .push_bind(it.risk_band.as_deref())
        .push_bind(it.score_confidence.as_deref())
        .push_bind(it.application_started_at)
        .push_bind(it.application_completed_at)
        .push_bind(it.scored_at)
        .push_bind(it.other.as_str());
}

fn one_trait(row: &mut Row<'_>, event: EventNumber, (position, one): &(i32, &Trait)) {
    row.push_bind(event.as_i64())
        .push_bind(*position)
        .push_bind(one.key.as_str())
        .push_bind(one.value.as_str())
        .push_bind(one.risk_band.as_deref())
        .push_bind(one.other.as_str());
}

fn application(row: &mut Row<'_>, event: EventNumber, it: &&Application) {
    row.push_bind(event.as_i64())
        .push_bind(it.integration_id.as_str())
        .push_bind(it.uid.as_str())
        .push_bind(it.status)
        .push_bind(it.started_at)
        .push_bind(it.ended_at)
        .push_bind(it.percentages.as_str())
        .push_bind(it.reasons.as_deref())
        .push_bind(it.other.as_str());
}
