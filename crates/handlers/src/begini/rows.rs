//! The handler `begini` for both databases: it writes the typed rows of one event or of a batch.
//! Also the JSON Schemas of its events.

use bytes::Bytes;
use hookbox_driver_postgres::Postgres;
use hookbox_driver_sqlite::Sqlite;
use hookbox_event::EventNumber;
use hookbox_worker::{BatchError, Event, Handler, HandlerError, Json, OrReject, Payload};

use super::payload::{Application, Row, Score, row};
use super::{Begini, postgres, sqlite};

/// The rows of an event are its payload. So an event from which no rows can be made fails before
/// the handler runs, and costs the other events of its batch nothing.
impl Payload for Row {
    fn of(body: &Bytes, read: Option<Json>) -> Result<Self, HandlerError> {
        let body = Json::of(body, read)?;
        row(&body).or_reject()
    }
}

/// The typed rows of some events, each with the number of its event.
#[derive(Default)]
pub(super) struct Rows<'e> {
    pub scores: Vec<(EventNumber, &'e Score)>,
    pub applications: Vec<(EventNumber, &'e Application)>,
    /// The replayed events, whose earlier rows are deleted first.
    pub replayed: Vec<EventNumber>,
}

impl<'e> Rows<'e> {
    fn of(events: &'e [Event<Row>]) -> Self {
        let mut rows = Self::default();
        for event in events {
            if event.round > 1 {
                rows.replayed.push(event.number);
            }
            match &event.payload {
                Row::Score(score) => rows.scores.push((event.number, score)),
                Row::Application(application) => {
                    rows.applications.push((event.number, application));
                }
                Row::Unknown => {}
            }
        }
        rows
    }
}

/// Implements the handler for one database. A macro does so for both, because the connections of
/// the two databases share no trait that one generic implementation could use.
macro_rules! begini_for {
    ($store:ty, $connection:ty, $database:ident) => {
        impl Handler<$store> for Begini {
            const NAME: &'static str = "begini";
            type Payload = Row;
            const TRUSTED: bool = true;

            fn is_repeatable(&self) -> bool {
                true
            }

            async fn handle(
                &self,
                event: &Event<Row>,
                tx: &mut $connection,
            ) -> Result<(), HandlerError> {
                let rows = Rows::of(std::slice::from_ref(event));
                $database::write(tx, &rows).await?;
                Ok(())
            }

            async fn handle_all(
                &self,
                events: &[Event<Row>],
                tx: &mut $connection,
            ) -> Result<(), BatchError> {
                $database::write(tx, &Rows::of(events)).await?;
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
