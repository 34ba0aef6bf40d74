//! The errors when a database cannot be opened: those that an operator has to fix, with a remedy,
//! and those that may pass with time.

use std::error::Error;

use hookbox_driver::{Fault, OpenError, causes};

use crate::server::query_error::{QueryError, text};
use crate::server::refusal::{Names, Refusal, Stage};

/// Returns the error for a failed connection, with a remedy if the server refused the connection.
pub(crate) fn unavailable(fault: Fault) -> OpenError {
    match refusal_in(&fault) {
        Some((refusal, text)) => refused(refusal, Some(text.into())),
        None => OpenError::Unavailable {
            what: "the database",
            source: fault.into(),
        },
    }
}

/// Returns the error for a database that was reached but refused a query or did not answer it.
pub(crate) fn open_error(error: QueryError, stage: Stage, names: &Names) -> OpenError {
    match error.refused_at(stage, names) {
        QueryError::Refused { error, refusal } => refused(refusal, Some(text(&error).into())),
        error @ (QueryError::Database(_) | QueryError::Unresponsive { .. }) => {
            OpenError::Unavailable {
                what: "the database",
                source: error.into(),
            }
        }
    }
}

/// Returns the error for a refusal that an operator must fix.
pub(crate) fn refused(refusal: Refusal, source: Option<Box<dyn Error + Send + Sync>>) -> OpenError {
    let Refusal { why, remedy } = refusal;
    OpenError::Refused {
        what: "the database",
        why,
        remedy,
        source,
    }
}

/// Returns the refusal in a fault's chain of causes, and the server's text; `None` when there is
/// none.
fn refusal_in(fault: &Fault) -> Option<(Refusal, String)> {
    causes(fault).find_map(|error| match error.downcast_ref::<QueryError>() {
        Some(QueryError::Refused { error, refusal }) => Some((refusal.clone(), text(error))),
        Some(QueryError::Database(_) | QueryError::Unresponsive { .. }) | None => None,
    })
}
