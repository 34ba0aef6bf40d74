//! Failures of our own dependencies, as opposed to those of an event or its handler.

use std::error::Error;
use std::fmt;

/// The classes of our own faults. None of them ever costs an event an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// Two units of work wanted the same thing (deadlock, serialisation failure, busy lock):
    /// running it again at once usually succeeds.
    Contention,
    /// A dependency is unavailable, full or refuses us: pause, and resume when it recovers.
    Unavailable,
    /// The database denied a right, or lacks a table, column, function or schema that a statement
    /// names: a fault of the deployment, which a person has to fix.
    MissingRight,
    /// Our own statement was refused for a reason that should not exist. Treated like
    /// [`FaultKind::Unavailable`], and logged as an error.
    Internal,
}

impl FaultKind {
    /// The name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            FaultKind::Contention => "contention",
            FaultKind::Unavailable => "unavailable",
            FaultKind::MissingRight => "missing_right",
            FaultKind::Internal => "internal",
        }
    }
}

/// A fault of our own: its class, what was being done, and the cause as its source.
///
/// `Display` shows what was being done; the cause is in `source()` and is printed by the one place
/// that logs the chain ([`describe`]).
#[derive(Debug)]
pub struct Fault {
    kind: FaultKind,
    doing: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault with a cause. `doing` reads after "failed to": "begin a transaction".
    pub fn new(
        kind: FaultKind,
        doing: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            doing: doing.into(),
            source: Some(source.into()),
        }
    }

    /// A fault without a further cause: `doing` is the whole text.
    pub fn plain(kind: FaultKind, doing: impl Into<String>) -> Self {
        Self {
            kind,
            doing: doing.into(),
            source: None,
        }
    }

    /// The class.
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

/// An error and all its causes on one line: the adapter for the one place that logs or stores it.
/// Libraries that repeat their cause in their own text are not repeated.
pub fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
