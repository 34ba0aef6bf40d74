//! Faults: failures of the services that hookbox depends on, and not of an event or its handler.

use std::error::Error;
use std::fmt;

use crate::causes::causes;

/// The classes of faults. A fault is never counted as an attempt on an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// Two transactions needed the same lock or row: a deadlock, a serialisation failure, or a lock
    /// that is held. The transaction usually succeeds when it is run again at once.
    Contention,
    /// A dependency is unavailable, full or refuses hookbox. The caller pauses, and resumes when
    /// the dependency recovers.
    Unavailable,
    /// The database denied a right, or lacks a table, column, function or schema that a statement
    /// names. This is an error of the deployment, and a person has to fix it.
    MissingRight,
    /// The database refused a statement of hookbox for a reason that should never occur. It is
    /// treated like [`FaultKind::Unavailable`], and is logged as an error.
    Internal,
}

impl FaultKind {
    /// Returns the name of this class in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            FaultKind::Contention => "contention",
            FaultKind::Unavailable => "unavailable",
            FaultKind::MissingRight => "missing_right",
            FaultKind::Internal => "internal",
        }
    }
}

/// A fault of a dependency: its class, the operation that failed, and the error that caused it.
///
/// `Display` shows the operation without the cause, and `source()` returns the cause. The code that
/// logs the fault writes both with [`describe`].
#[derive(Debug)]
pub struct Fault {
    kind: FaultKind,
    doing: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    statement: Option<Box<UserStatement>>,
    may_be_local: bool,
}

/// An SQL statement of a user that has caused a fault, in the form that operators see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserStatement {
    /// Where the statement is: the file, the line and the column, with the code of the error.
    pub place: String,
    /// The database role under which the statement ran; `None` if it is that of hookbox's
    /// connection.
    pub role: Option<String>,
    /// The message of the database; `None` if the message may quote a value of an event. It is set
    /// only if the message is about the text of the statement alone.
    pub message: Option<String>,
}

impl Fault {
    /// Creates a fault with a cause. `doing` names the failed operation as a verb phrase that can
    /// follow "failed to", such as "begin a transaction".
    pub fn new(
        kind: FaultKind,
        doing: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            doing: doing.into(),
            source: Some(source.into()),
            statement: None,
            may_be_local: false,
        }
    }

    /// Creates a fault without a cause. `doing` names the failed operation as for [`Fault::new`].
    pub fn plain(kind: FaultKind, doing: impl Into<String>) -> Self {
        Self {
            kind,
            doing: doing.into(),
            source: None,
            statement: None,
            may_be_local: false,
        }
    }

    /// Adds the user's statement that has caused the fault.
    #[must_use]
    pub fn of_statement(self, statement: UserStatement) -> Self {
        Self {
            statement: Some(Box::new(statement)),
            ..self
        }
    }

    /// Marks a fault whose cause may lie in this process, because all connections of this process
    /// are in use or because a handler's statement has failed. Such a fault does not show that the
    /// dependency is unavailable, whatever its class is.
    #[must_use]
    pub fn local(self) -> Self {
        Self {
            may_be_local: true,
            ..self
        }
    }

    /// Returns whether the cause of the fault may lie in this process, and not in the dependency.
    pub fn may_be_local(&self) -> bool {
        self.may_be_local
    }

    /// Returns the user's statement of the first fault in a chain of causes that has one.
    pub fn statement_of<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e UserStatement> {
        causes(error).find_map(|error| error.downcast_ref::<Fault>()?.statement.as_deref())
    }

    /// Returns the class of the fault.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {} ({})", self.doing, self.kind.as_str())
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

/// Returns an error and all its causes as one line, for the log or the store. A cause whose text
/// the line already contains is left out.
pub fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in causes(error).skip(1) {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_of_a_user_is_found_in_the_chain() {
        let statement = UserStatement {
            place: "a.sql, line 2, column 1".to_owned(),
            role: None,
            message: Some("no such table: t".to_owned()),
        };
        let inner = Fault::plain(FaultKind::MissingRight, "run a statement");
        let outer = Fault::new(
            FaultKind::Unavailable,
            "handle an event",
            inner.of_statement(statement.clone()),
        );
        assert_eq!(Fault::statement_of(&outer), Some(&statement));
        let without = Fault::plain(FaultKind::Internal, "read a row");
        assert_eq!(Fault::statement_of(&without), None);
    }
}
