//! The error of a statement, with its place in the user's text.

use std::fmt;

use hookbox_driver::{Fault, FaultKind, UserStatement};
use hookbox_sql::Place;
use hookbox_worker::HandlerError;

use super::codes::Class;

/// A statement that the database has refused or could not run.
#[derive(Debug)]
pub(super) struct StatementError {
    /// Where the text of the statement is.
    pub origin: String,
    /// The place to which the error refers, or else the beginning of the statement.
    pub place: Place,
    /// The error's code with its name, such as `SQLSTATE 23505`, if the database gave it one.
    pub code: Option<String>,
    /// What the error probably comes from, as a clause that follows the place.
    pub hint: Option<&'static str>,
    pub source: sqlx::Error,
}

impl StatementError {
    /// Converts the error into that of the handler. `role` is the role under which the statement
    /// ran. `message` is the message of the database, if it depends only on the text of the
    /// statement.
    pub fn classed(
        self,
        class: Class,
        role: Option<String>,
        message: Option<String>,
    ) -> HandlerError {
        match class {
            Class::Permanent => HandlerError::permanent(self),
            Class::Transient => HandlerError::transient(self),
            Class::Pause => {
                let place = self.to_string();
                HandlerError::transient(unfit(self).of_statement(UserStatement {
                    place,
                    role,
                    message,
                }))
            }
        }
    }
}

/// Makes the fault for a statement, or for a role, that does not fit the database. The store finds
/// this fault in the handler's error. So no attempt is counted, and the route pauses.
pub(super) fn unfit(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fault {
    let doing = "run a statement of the handler";
    Fault::new(FaultKind::MissingRight, doing, error)
}

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.origin, self.place)?;
        if let Some(code) = &self.code {
            write!(f, " ({code})")?;
        }
        match self.hint {
            Some(hint) => write!(f, ", {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StatementError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
