//! Ends of events on routes, in the order in which a store has committed them, for programs that
//! follow them (`hookbox events follow`).
//!
//! A program cannot read along in the order of a time column: a transaction that began earlier may
//! commit later, and then its rows appear before rows that were read already. So a store gives each
//! end a position, and hides an end until no end with a lower position can appear. A reader that
//! continues after the last position that it has read misses no end.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hookbox_event::{
    ContentDigest, Digester, EventId, EventNumber, Incarnation, RouteName, Timestamp, Topic,
};

/// How an event ended on a route. An end is not always the last one: a replayed dead letter ends
/// again, and so does a discarded one that is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOutcome {
    /// The handler's effects are committed.
    Done,
    /// The route has given up on the event, or an operator has reverted the discard of its dead
    /// letter.
    Dead,
    /// An operator has decided that the dead letter is not to be replayed.
    Discarded,
    /// A newer event of the same key was done before, so the handler did not run.
    Stale,
}

impl EndOutcome {
    /// Every outcome, for parsers.
    pub const ALL: [EndOutcome; 4] = [
        EndOutcome::Done,
        EndOutcome::Dead,
        EndOutcome::Discarded,
        EndOutcome::Stale,
    ];

    /// Returns the text of this outcome that the database stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            EndOutcome::Done => "done",
            EndOutcome::Dead => "dead",
            EndOutcome::Discarded => "discarded",
            EndOutcome::Stale => "stale",
        }
    }

    /// Returns the outcome with this text; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }
}

/// Returns the number of a round. It is the number of the round's first attempt, so it is 1 until
/// the event is replayed. `attempts_before` is the number of attempts made before the last replay.
pub fn round_after(attempts_before: u32) -> u32 {
    attempts_before.saturating_add(1)
}

/// The position of an end in the order of commits. Programs store it as text and pass it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndCursor {
    /// The incarnation of the store from which the cursor comes. Positions of different
    /// incarnations cannot be compared.
    pub incarnation: Incarnation,
    /// The position: on PostgreSQL the number of the transaction, and on SQLite the number of the
    /// row. Ends of one transaction are ordered by event and route.
    pub position: u64,
    /// The number of the event.
    pub event: EventNumber,
    /// The route of the end.
    pub route: RouteName,
    /// The time of the end. It shows whether the end at this position is still the same one.
    pub at: Timestamp,
}

/// The error for a text that is not the cursor of an end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the cursor must be a complete one, as `hookbox events follow` printed it")]
pub struct InvalidEndCursor;

/// The reason why a store does not continue after a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorRefusal {
    /// The cursor comes from another incarnation of the store, or from another store.
    #[error(
        "the cursor is of incarnation {cursor}, and this store is incarnation {store}: the store \
         was restored, or it is another store"
    )]
    OtherIncarnation {
        /// The incarnation of the cursor.
        cursor: Incarnation,
        /// The present incarnation of the store.
        store: Incarnation,
    },
    /// The store does not have the end that the cursor names.
    #[error(
        "this store does not have the end that the cursor names: the store was restored to an \
         older state"
    )]
    Gone,
    /// The store was moved to another server, whose positions may be lower than that of the cursor.
    #[error(
        "the database was moved from another server, and its ends have no positions of this server \
         yet: run `hookbox migrate` first"
    )]
    Moved,
}

/// One end of an event on a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndRow {
    /// The position of the end, with the number of its event, its route and its time.
    pub cursor: EndCursor,
    /// The id of the event.
    pub event: EventId,
    /// The topic of the event.
    pub topic: Topic,
    /// How the event ended.
    pub outcome: EndOutcome,
    /// The number of the round of attempts; see [`round_after`].
    pub round: u32,
    /// The number of attempts made until the end.
    pub attempts: u32,
}

/// A page of ends in the order of their positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndsPage {
    /// The ends on the chosen route, or on all routes.
    pub rows: Vec<EndRow>,
    /// The position of the last end that was read, which may be one on another route; `None` when
    /// nothing was read. The next page begins after this position.
    pub next: Option<EndCursor>,
    /// Whether the store may have more ends that can be read now.
    pub more: bool,
}

/// The result of reading ends after a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndsRead {
    /// The ends that follow the cursor.
    Page(EndsPage),
    /// Nothing was read, because the store cannot continue after the cursor.
    Refused(CursorRefusal),
}

/// One end that a store has read for a page.
#[derive(Debug)]
pub enum ReadEnd {
    /// An end on the chosen route, or on any route if none was chosen.
    Chosen(EndRow),
    /// An end on another route.
    Other(EndCursor),
}

/// Ends that are committed, but that readers do not get yet, because a transaction with a lower
/// number is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBack {
    /// How long ago the transaction of the first of these ends began.
    pub age: Duration,
    /// The transaction that holds them back; `None` when it is not known, or has just ended.
    pub by: Option<Holder>,
}

/// The transaction that holds ends back. It may run in any database of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The process id of the session at the server; `None` for a prepared transaction, which has no
    /// process.
    pub process: Option<i32>,
    /// The database of the transaction.
    pub database: String,
    /// The name that the program gave its session, or the id of a prepared transaction.
    pub name: String,
}

/// A page of one route reads this many ends, or more if the page has more rows. The index is
/// ordered by position and not by route, so many of them may be ends of other routes.
const READ_MAX: u32 = 1_000;

impl EndsPage {
    /// Returns how many ends are to be read for a page of at most `limit` rows.
    pub fn to_read(route: Option<&RouteName>, limit: u32) -> u32 {
        match route {
            Some(_) => limit.max(READ_MAX),
            None => limit,
        }
    }

    /// Returns the page with at most `limit` rows from ends in the order of their positions.
    /// `to_read` is how many ends the store was asked for.
    pub fn of(read: impl IntoIterator<Item = ReadEnd>, to_read: u32, limit: u32) -> Self {
        let mut page = Self {
            rows: Vec::new(),
            next: None,
            more: false,
        };
        let (mut count, limit) = (0, limit as usize);
        for end in read {
            if page.rows.len() == limit {
                page.more = true;
                return page;
            }
            count += 1;
            match end {
                ReadEnd::Chosen(row) => {
                    page.next = Some(row.cursor.clone());
                    page.rows.push(row);
                }
                ReadEnd::Other(cursor) => page.next = Some(cursor),
            }
        }
        page.more = count == to_read;
        page
    }
}

impl EndCursor {
    /// Returns why the store cannot continue after this cursor; `None` if it can. `store` is the
    /// present incarnation of the store. `found` is the time of the stored end that has the
    /// position, event and route of this cursor; `None` if there is none.
    ///
    /// If the store still has this end, a reader can continue after it. This holds even if the
    /// store was restored to an older state meanwhile, because every end that it commits later has
    /// a higher position.
    pub fn refused_by(
        &self,
        store: Incarnation,
        found: Option<Timestamp>,
    ) -> Option<CursorRefusal> {
        if self.incarnation != store {
            return Some(CursorRefusal::OtherIncarnation {
                cursor: self.incarnation,
                store,
            });
        }
        (found != Some(self.at)).then_some(CursorRefusal::Gone)
    }
}

/// The separator between the parts of a cursor. No number, id or route name contains it.
const SEPARATOR: char = '.';

/// The number of parts of a cursor, with the check digits.
const PARTS: usize = 6;

/// The number of check digits at the end of a cursor.
const CHECK_DIGITS: usize = 8;

impl fmt::Display for EndCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.unchecked();
        write!(f, "{text}{SEPARATOR}{}", check_digits(&text))
    }
}

impl EndCursor {
    /// Returns the text of the cursor without its check digits.
    fn unchecked(&self) -> String {
        let Self {
            incarnation,
            position,
            event,
            route,
            at,
        } = self;
        let (event, at) = (event.as_i64(), at.unix_micros());
        let parts = [
            incarnation.to_string(),
            position.to_string(),
            event.to_string(),
            route.to_string(),
            at.to_string(),
        ];
        parts.join(&SEPARATOR.to_string())
    }
}

/// Returns digits that depend on the whole text, so that a cursor that was cut or changed is
/// refused and not taken for another cursor.
fn check_digits(text: &str) -> String {
    // No identity key is used: the parts of a cursor are not secret, and processes without the key
    // must be able to read a cursor.
    let mut digits = ContentDigest::of_raw_body(&Digester::Plain, text.as_bytes()).to_string();
    digits.truncate(CHECK_DIGITS);
    digits
}

impl FromStr for EndCursor {
    type Err = InvalidEndCursor;

    fn from_str(text: &str) -> Result<Self, InvalidEndCursor> {
        let parts: Vec<&str> = text.split(SEPARATOR).collect();
        let Ok([incarnation, position, event, route, at, _]) = <[&str; PARTS]>::try_from(parts)
        else {
            return Err(InvalidEndCursor);
        };
        let event = event.parse().map_err(|_| InvalidEndCursor)?;
        let at = at.parse().map_err(|_| InvalidEndCursor)?;
        let cursor = Self {
            incarnation: incarnation.parse().map_err(|_| InvalidEndCursor)?,
            position: position.parse().map_err(|_| InvalidEndCursor)?,
            event: EventNumber::from_i64(event),
            route: route.parse().map_err(|_| InvalidEndCursor)?,
            at: Timestamp::from_unix_micros(at),
        };
        // This compares the check digits. It also refuses the same numbers in another form, such as
        // with leading zeros.
        if cursor.to_string() == text {
            Ok(cursor)
        } else {
            Err(InvalidEndCursor)
        }
    }
}

#[cfg(test)]
mod tests;
