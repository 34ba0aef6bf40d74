//! The handler `begini` for both databases: it writes the typed rows of one event or of a batch.
//! Also the JSON Schemas of its events.

use hookbox_driver_postgres::Postgres;
use hookbox_driver_sqlite::Sqlite;
use hookbox_event::EventNumber;
use hookbox_worker::{BatchError, Event, Handler, HandlerError, Json, OrReject};

use super::payload::{Application, Row, Score, Unfit, row};
use super::{Begini, postgres, sqlite};

/// The typed rows of some events, each with the number of its event.
#[derive(Default)]
pub(super) struct Rows {
    pub scores: Vec<(EventNumber, Score)>,
    pub applications: Vec<(EventNumber, Application)>,
}

impl Rows {
    fn add(&mut self, event: &Event<Json>) -> Result<(), Unfit> {
        let number = event.number;
        match row(&event.payload)? {
            Row::Score(score) => self.scores.push((number, score)),
            Row::Application(application) => self.applications.push((number, application)),
            Row::Unknown => {}
        }
        Ok(())
    }
}

/// Implements the handler for one database. A macro does so for both, because the connections of
/// the two databases share no trait that one generic implementation could use.
macro_rules! begini_for {
    ($store:ty, $connection:ty, $database:ident) => {
        impl Handler<$store> for Begini {
            const NAME: &'static str = "begini";
            type Payload = Json;
            const TRUSTED: bool = true;

            async fn handle(
                &self,
                event: &Event<Json>,
                tx: &mut $connection,
            ) -> Result<(), HandlerError> {
                let mut rows = Rows::default();
                rows.add(event).or_reject()?;
                $database::write(tx, &rows).await?;
                Ok(())
            }

            async fn handle_all(
                &self,
                events: &[Event<Json>],
                tx: &mut $connection,
            ) -> Result<(), BatchError> {
                let mut rows = Rows::default();
                for event in events {
                    let added = rows.add(event).or_reject();
                    added.map_err(|error| BatchError::of(event, error))?;
                }
                $database::write(tx, &rows).await?;
                Ok(())
            }
        }
    };
}

begini_for!(Postgres, sqlx::PgConnection, postgres);
begini_for!(Sqlite, sqlx::SqliteConnection, sqlite);

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
