//! Why a driver refuses to start: reported before anything is changed.

use std::error::Error;

use crate::NotReadyKind;

/// Why a broker or store cannot be opened. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It belongs to another environment.
    #[error(
        "{what} is stamped with environment {found:?}, and the config says {wanted:?}; \
         point the config at the {what} of {wanted:?}, or correct `environment`"
    )]
    Environment {
        /// Which thing: "the database", "the broker".
        what: &'static str,
        /// Its stamp.
        found: String,
        /// The config's environment.
        wanted: String,
    },
    /// There is no schema yet, or an older one.
    #[error(
        "the database has schema version {found}, and this hookbox needs {wanted}; \
         run `hookbox migrate`"
    )]
    SchemaOlder {
        /// The version found; 0 when there is none.
        found: i64,
        /// The version needed.
        wanted: i64,
    },
    /// A newer hookbox has migrated it.
    #[error(
        "the database has schema version {found}, and this hookbox knows only {wanted}; \
         start the newer hookbox that migrated it"
    )]
    SchemaNewer {
        /// The version found.
        found: i64,
        /// The newest version known.
        wanted: i64,
    },
    /// It is set up so that the promises could not be kept.
    #[error("{what} is not safe to use: {why}")]
    Unsafe {
        /// Which thing.
        what: &'static str,
        /// Which setting, what it is, and what it must be.
        why: String,
    },
    /// The queues are not as hookbox declares them.
    #[error("the broker's queues differ from what hookbox declares: {}", list(.0))]
    Topology(Vec<TopologyDifference>),
    /// It was reached, and refuses: a wrong password, a missing right, a limit, a file that is not
    /// there. Waiting does not help; an operator has to act.
    #[error("{what} cannot be used: {why}; {remedy}")]
    Refused {
        /// Which thing.
        what: &'static str,
        /// What it refuses.
        why: String,
        /// The statement or command that corrects it.
        remedy: String,
        /// The cause, where its own text adds something.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// It cannot be reached.
    #[error("{what} cannot be reached; check its URL and that it runs")]
    Unavailable {
        /// Which thing.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The URL or another option cannot be used.
    #[error("the options for {what} cannot be used: {why}")]
    Options {
        /// Which thing.
        what: &'static str,
        /// Why, without the URL (it may hold a password).
        why: String,
    },
}

impl OpenError {
    /// The class of what keeps it from being used.
    pub fn not_ready_kind(&self) -> NotReadyKind {
        match self {
            OpenError::Unavailable { .. } => NotReadyKind::Unreachable,
            OpenError::Topology(_) | OpenError::Unsafe { .. } => NotReadyKind::Topology,
            OpenError::Refused { .. }
            | OpenError::Environment { .. }
            | OpenError::SchemaOlder { .. }
            | OpenError::SchemaNewer { .. }
            | OpenError::Options { .. } => NotReadyKind::Refused,
        }
    }
}

/// One thing that is not as declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("queue {queue:?}: {difference}")]
pub struct TopologyDifference {
    /// Which queue.
    pub queue: String,
    /// What differs, and what to do.
    pub difference: String,
}

fn list(differences: &[TopologyDifference]) -> String {
    differences
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
