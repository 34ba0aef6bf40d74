//! Where a line of a report comes from, such as the broker or the store, and what a report shows if
//! one of them is unavailable.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// Where the data in a report comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The broker, which knows what waits in queues.
    Broker,
    /// The store, which knows what was settled and how.
    Store,
    /// The spool of the ingest on this machine, whose events count as events in the broker's
    /// queues.
    Spool,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Broker => "broker",
            Source::Store => "store",
            Source::Spool => "spool",
        })
    }
}

/// Something that a command could not read. All other parts of the command's report are valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What could not be read.
    pub source: Source,
    /// What the command was doing, and why that failed.
    pub what: String,
}

impl Problem {
    /// Builds a problem from an error of the broker or the store.
    pub fn of(source: Source, error: &(dyn std::error::Error + 'static)) -> Self {
        Self {
            source,
            what: hookbox_driver::describe(error),
        }
    }
}

/// The broker or the store, if it could be opened; otherwise, the reason why it could not be
/// opened. A command that uses both continues with only one of them.
pub enum Reach<T: ?Sized> {
    /// The broker or the store is open.
    Open(Arc<T>),
    /// The broker or the store is open, but something that belongs to it could not be read: what it
    /// reports is valid, and not everything.
    Partial(Arc<T>, Problem),
    /// The broker or the store could not be opened, for this reason. The text is safe to show on a
    /// terminal.
    Unavailable(String),
}

impl<T: ?Sized> Reach<T> {
    /// Returns the broker or the store if it is open, and what could not be read of it. Otherwise
    /// returns why it could not be opened.
    pub fn opened(&self) -> Result<(&Arc<T>, Option<&Problem>), &str> {
        match self {
            Reach::Open(source) => Ok((source, None)),
            Reach::Partial(source, lacks) => Ok((source, Some(lacks))),
            Reach::Unavailable(why) => Err(why),
        }
    }
}

impl<T: ?Sized> Clone for Reach<T> {
    fn clone(&self) -> Self {
        match self {
            Reach::Open(source) => Reach::Open(Arc::clone(source)),
            Reach::Partial(source, lacks) => Reach::Partial(Arc::clone(source), lacks.clone()),
            Reach::Unavailable(why) => Reach::Unavailable(why.clone()),
        }
    }
}
