//! `events follow`: the ends of events on routes, in the order of their commits, page by page.

use hookbox_driver::{EndCursor, EndRow, EndsRead, HeldBack, Ledger};
use hookbox_event::RouteName;
use serde::Serialize;

use crate::CommandError;

/// A page of ends of events on routes.
#[derive(Debug, Clone)]
pub struct Ends {
    /// The ends, in the order of their commits.
    pub ends: Vec<EndLine>,
    /// The cursor after which the next page begins; `None` when nothing was read.
    pub next: Option<EndCursor>,
    /// Whether a further query may find more ends at once, without a wait.
    pub more: bool,
}

/// One end of an event on a route.
#[derive(Debug, Clone, Serialize)]
pub struct EndLine {
    /// The cursor of this end. With this value of `--after`, the command continues after this end.
    pub cursor: String,
    /// The event id, 32 hex digits.
    pub event: String,
    /// The event number: the key of the event's rows in all tables of the store.
    pub event_number: i64,
    /// The topic of the event.
    pub topic: String,
    /// The route on which the event ended.
    pub route: String,
    /// How the event ended on the route: done, dead, discarded or stale.
    pub outcome: &'static str,
    /// The number of the round of attempts: 1 until the event is replayed. After that, it is the
    /// number of the first attempt after the last replay.
    pub round: u32,
    /// How many attempts were made on the event on this route.
    pub attempts: u32,
    /// When the event ended, by the store's clock. Ends are listed in the order of their commits,
    /// so these times need not ascend.
    pub ended_at: String,
}

/// Committed ends that readers do not get yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldBackNote {
    /// The transaction that holds these ends back has been open for at least this many seconds.
    pub held_back_seconds: u64,
    /// The id of the process of the database server that runs this transaction; null when the id is
    /// not known, or when the transaction is prepared and so has no process.
    pub process: Option<i32>,
    /// The database of the transaction; null when it is not known. It may differ from the database
    /// of the store, because transactions of the whole server hold ends back.
    pub database: Option<String>,
    /// The name that the program gave its session, or the id of a prepared transaction; null when
    /// it is not known.
    pub name: Option<String>,
}

/// The cursor at which a command has stopped.
#[derive(Debug, Clone, Serialize)]
pub struct NextEnd {
    /// The cursor, which is the value of `--after`.
    pub next: String,
}

/// Reads at most `limit` ends after a cursor, on one route or on all.
pub async fn page(
    ledger: &dyn Ledger,
    after: Option<&EndCursor>,
    route: Option<&RouteName>,
    limit: u32,
) -> Result<Ends, CommandError> {
    let read = ledger
        .ends(after, route, limit)
        .await
        .map_err(CommandError::store("read the ends of events"))?;
    match read {
        EndsRead::Page(page) => Ok(Ends {
            ends: page.rows.iter().map(EndLine::of).collect(),
            next: page.next,
            more: page.more,
        }),
        EndsRead::Refused(source) => Err(CommandError::CursorRefused { source }),
    }
}

/// Returns what holds committed ends back; `None` when nothing does.
pub async fn held_back(ledger: &dyn Ledger) -> Result<Option<HeldBack>, CommandError> {
    ledger.ends_held_back().await.map_err(CommandError::store(
        "find the transaction that holds ends of events back",
    ))
}

impl EndLine {
    fn of(row: &EndRow) -> Self {
        Self {
            cursor: row.cursor.to_string(),
            event: row.event.to_string(),
            event_number: row.cursor.event.as_i64(),
            topic: row.topic.to_string(),
            route: row.cursor.route.to_string(),
            outcome: row.outcome.as_str(),
            round: row.round,
            attempts: row.attempts,
            ended_at: row.cursor.at.to_string(),
        }
    }
}

impl From<&HeldBack> for HeldBackNote {
    fn from(held: &HeldBack) -> Self {
        let by = held.by.as_ref();
        Self {
            held_back_seconds: held.age.as_secs(),
            process: by.and_then(|by| by.process),
            database: by.map(|by| by.database.clone()),
            name: by.map(|by| by.name.clone()),
        }
    }
}
