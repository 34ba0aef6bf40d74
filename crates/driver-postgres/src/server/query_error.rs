//! The error of a query: the driver's own, a refusal with its remedy, or no answer in time.

use std::time::Duration;

use crate::server::refusal::{self, Names, Refusal, Stage};
use crate::server::sequences;

/// Why a query has no result.
#[derive(Debug)]
pub(crate) enum QueryError {
    /// An error that sqlx returned, without a remedy.
    Database(sqlx::Error),
    /// The database refused the query, and there is a remedy.
    Refused {
        /// The error that sqlx returned.
        error: sqlx::Error,
        /// What the refusal means, with its remedy.
        refusal: Refusal,
    },
    /// The server did not answer in time.
    Unresponsive {
        /// For how long the answer was awaited.
        limit: Duration,
    },
}

impl QueryError {
    /// Adds the remedy if the error's code shows that the server has refused the query. Returns any
    /// other error unchanged.
    pub fn refused_at(self, stage: Stage, names: &Names) -> Self {
        match self {
            QueryError::Database(error) => match refusal_of(&error, stage, names) {
                Some(refusal) => QueryError::Refused { error, refusal },
                None => QueryError::Database(error),
            },
            QueryError::Refused { .. } | QueryError::Unresponsive { .. } => self,
        }
    }
}

fn refusal_of(error: &sqlx::Error, stage: Stage, names: &Names) -> Option<Refusal> {
    let error = error.as_database_error()?;
    let taken = error.constraint().and_then(sequences::refusal_of);
    taken.or_else(|| refusal::of_code(&error.code()?, stage, names))
}

/// Returns the text of an error. sqlx's own text ends with a line number of PostgreSQL's source,
/// which reads like a line of the statement.
pub(crate) fn text(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(database) => format!("error returned from database: {}", database.message()),
        None => error.to_string(),
    }
}

impl std::fmt::Display for QueryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            QueryError::Database(error) => f.write_str(&text(error)),
            QueryError::Refused { error, refusal } => write!(f, "{refusal} ({})", text(error)),
            QueryError::Unresponsive { limit } => write!(f, "no answer within {limit:?}"),
        }
    }
}

impl std::error::Error for QueryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // `Display` already shows the text of `error`. So the next cause is not `error` itself
            // but its cause.
            QueryError::Database(error) | QueryError::Refused { error, .. } => {
                // The cause of an error from the server is that error itself, whose message is
                // shown already.
                let shown = error.as_database_error().is_some();
                error.source().filter(|_| !shown)
            }
            QueryError::Unresponsive { .. } => None,
        }
    }
}
