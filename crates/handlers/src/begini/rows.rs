//! The SQL statements of the handler `begini`, written once for both databases, and the JSON
//! Schemas of its events.

use hookbox_driver_postgres::Postgres;
use hookbox_driver_sqlite::Sqlite;
use hookbox_worker::{Event, Handler, HandlerError, Json, OrReject};

use super::Begini;
use super::payload::{Application, Row, Score, Trait, row};

const INSERT_SCORE: &str = "insert into begini_scores (event_id, integration_id, uid, kind, \
     platform, score, risk_band, score_confidence, application_started_at, \
     application_completed_at, scored_at, other) \
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

const INSERT_TRAIT: &str = "insert into begini_score_traits (event_id, position, key, value, \
     risk_band, other) values ($1, $2, $3, $4, $5, $6)";

const INSERT_TRAITS: &str = "insert into begini_score_traits (event_id, position, key, value, \
     risk_band, other) \
     select $1, * from unnest($2::int[], $3::text[], $4::text[], $5::text[], $6::text[])";

const INSERT_APPLICATION: &str = "insert into begini_applications (event_id, integration_id, \
     uid, status, started_at, ended_at, percentages, reasons, other) \
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// Implements the handler for one database. A macro does so for both, because the connections of
/// the two databases share no trait that one generic implementation could use.
macro_rules! begini_for {
    ($store:ty, $connection:ty, $score:ident, $traits:ident, $application:ident) => {
        impl Handler<$store> for Begini {
            const NAME: &'static str = "begini";
            type Payload = Json;
            const TRUSTED: bool = true;

            async fn handle(
                &self,
                event: &Event<Json>,
                tx: &mut $connection,
            ) -> Result<(), HandlerError> {
                let id = event.id.as_bytes().as_slice();
                match row(&event.payload).or_reject()? {
                    Row::Score(score) => $score(tx, id, &score).await?,
                    Row::Application(application) => $application(tx, id, &application).await?,
                    Row::Unknown => {}
                }
                Ok(())
            }
        }

        async fn $score(tx: &mut $connection, id: &[u8], score: &Score) -> Result<(), sqlx::Error> {
            sqlx::query(INSERT_SCORE)
                .bind(id)
                .bind(&score.integration_id)
                .bind(&score.uid)
                .bind(score.kind)
                .bind(&score.platform)
                .bind(score.score)
                .bind(&score.risk_band)
                .bind(&score.score_confidence)
                .bind(score.application_started_at)
                .bind(score.application_completed_at)
                .bind(score.scored_at)
                .bind(&score.other)
                .execute(&mut *tx)
                .await?;
            $traits(tx, id, &score.traits).await
        }

        async fn $application(
            tx: &mut $connection,
            id: &[u8],
            application: &Application,
        ) -> Result<(), sqlx::Error> {
            sqlx::query(INSERT_APPLICATION)
                .bind(id)
                .bind(&application.integration_id)
                .bind(&application.uid)
                .bind(application.status)
                .bind(application.started_at)
                .bind(application.ended_at)
                .bind(&application.percentages)
                .bind(&application.reasons)
                .bind(&application.other)
                .execute(tx)
                .await?;
            Ok(())
        }
    };
}

begini_for!(
    Postgres,
    sqlx::PgConnection,
    postgres_score,
    postgres_traits,
    postgres_application
);
begini_for!(
    Sqlite,
    sqlx::SqliteConnection,
    sqlite_score,
    sqlite_traits,
    sqlite_application
);

/// Inserts all traits of a score in one round trip.
async fn postgres_traits(
    tx: &mut sqlx::PgConnection,
    id: &[u8],
    traits: &[Trait],
) -> Result<(), sqlx::Error> {
    if traits.is_empty() {
        return Ok(());
    }
    let positions: Vec<i32> = (0..).zip(traits).map(|(position, _)| position).collect();
    let keys: Vec<&str> = traits.iter().map(|one| one.key.as_str()).collect();
    let values: Vec<&str> = traits.iter().map(|one| one.value.as_str()).collect();
    let bands: Vec<Option<&str>> = traits.iter().map(|one| one.risk_band.as_deref()).collect();
    let others: Vec<&str> = traits.iter().map(|one| one.other.as_str()).collect();
    sqlx::query(INSERT_TRAITS)
        .bind(id)
        .bind(positions)
        .bind(keys)
        .bind(values)
        .bind(bands)
        .bind(others)
        .execute(tx)
        .await?;
    Ok(())
}

/// Inserts each trait with a statement of its own. One statement for all would save round trips
/// over a network, and SQLite runs in this process.
async fn sqlite_traits(
    tx: &mut sqlx::SqliteConnection,
    id: &[u8],
    traits: &[Trait],
) -> Result<(), sqlx::Error> {
    for (position, one) in (0_i32..).zip(traits) {
        sqlx::query(INSERT_TRAIT)
            .bind(id)
            .bind(position)
            .bind(&one.key)
            .bind(&one.value)
            .bind(&one.risk_band)
            .bind(&one.other)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Returns the JSON Schemas of Begini's events by event type, from the files in `schemas/begini/`.
pub fn schemas() -> [(&'static str, &'static str); 8] {
    macro_rules! schema {
        ($name:literal) => {
            (
                $name,
                include_str!(concat!("../../../../schemas/begini/", $name, ".json")),
            )
        };
    }
    [
        schema!("psychometric_score.complete"),
        schema!("android_score.complete"),
        schema!("ios_score.complete"),
        schema!("application.complete"),
        schema!("application.expired"),
        schema!("application.incomplete"),
        schema!("application.cancelled"),
        schema!("unknown"),
    ]
}
