//! Where a line of the report comes from (broker or store), and what is printed when that is
//! unavailable.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// A source of truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// What waits in queues.
    Broker,
    /// What was settled, with its history.
    Store,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Broker => "broker",
            Source::Store => "store",
        })
    }
}

/// Something that a command could not read; the rest of its report is valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The source that did not answer.
    pub source: Source,
    /// What was being done, and why it failed.
    pub what: String,
}

impl Problem {
    /// The error of a source.
    pub fn of(source: Source, error: &(dyn std::error::Error + 'static)) -> Self {
        Self {
            source,
            what: hookbox_driver::describe(error),
        }
    }
}

/// A source that is open, or why it is not: a command that needs both continues with one.
pub enum Reach<T: ?Sized> {
    /// It is open.
    Open(Arc<T>),
    /// It could not be opened, and the reason, in words safe to show.
    Unavailable(String),
}

impl<T: ?Sized> Clone for Reach<T> {
    fn clone(&self) -> Self {
        match self {
            Reach::Open(source) => Reach::Open(Arc::clone(source)),
            Reach::Unavailable(why) => Reach::Unavailable(why.clone()),
        }
    }
}
