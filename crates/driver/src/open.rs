//! Why a driver refuses to open a broker or a store. The driver returns these errors before it has
//! changed anything.

use std::error::Error;

use crate::{IdentityMismatch, NotReadyKind};

/// Why a broker or a store cannot be opened. The text of each error says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The broker or store belongs to another environment.
    #[error(
        "{what} is stamped with environment {found:?}, and the config says {wanted:?}; \
         point the config at {what} of environment {wanted:?}, or correct `environment`"
    )]
    Environment {
        /// The name of what cannot be opened: "the database" or "the broker".
        what: &'static str,
        /// The environment with which the broker or store is stamped.
        found: String,
        /// The environment that the config names.
        wanted: String,
    },
    /// The broker or store belongs to another identity key, or to none.
    #[error("{what} {why}")]
    Identity {
        /// The name of what cannot be opened: "the database" or "the broker".
        what: &'static str,
        /// How the identity key of the broker or store differs from that of the config.
        why: IdentityMismatch,
    },
    /// The database has no schema yet, or an older one.
    #[error(
        "the database has schema version {found}, and this hookbox needs {wanted}; \
         run `hookbox migrate`"
    )]
    SchemaOlder {
        /// The schema version of the database; 0 when it has no schema.
        found: i64,
        /// The schema version that this hookbox needs.
        wanted: i64,
    },
    /// A newer hookbox has migrated the database.
    #[error(
        "the database has schema version {found}, and this hookbox knows only {wanted}; \
         start the newer hookbox that migrated it"
    )]
    SchemaNewer {
        /// The schema version of the database.
        found: i64,
        /// The newest schema version that this hookbox knows.
        wanted: i64,
    },
    /// The broker or store has settings under which hookbox cannot keep its promises.
    #[error("{what} is not safe to use: {why}")]
    Unsafe {
        /// The name of what cannot be opened: "the database" or "the broker".
        what: &'static str,
        /// Which setting is wrong, its value, and the value that it must have.
        why: String,
    },
    /// The broker's queues differ from what hookbox declares.
    #[error("the broker's queues differ from what hookbox declares: {}", list(.0))]
    Topology(Vec<TopologyDifference>),
    /// The broker or store was reached and refuses hookbox, for example because of a wrong
    /// password, a missing right, a limit or a missing file. Waiting does not help; an operator has
    /// to act.
    #[error("{what} cannot be used: {why}; {remedy}")]
    Refused {
        /// The refusing dependency: "the database" or "the broker".
        what: &'static str,
        /// Why the dependency refuses hookbox, as a text that can follow "cannot be used:".
        why: String,
        /// The statement or command that fixes the cause.
        remedy: String,
        /// The underlying error, where its text adds something.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The broker or store cannot be reached.
    #[error("{what} cannot be reached; check its URL and that it runs")]
    Unavailable {
        /// The unreachable dependency: "the database" or "the broker".
        what: &'static str,
        /// The error of the attempt to connect.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The URL or another option is not valid.
    #[error("the options for {what} cannot be used: {why}")]
    Options {
        /// The dependency to which the option belongs: "the database" or "the broker".
        what: &'static str,
        /// What is wrong, without the URL, because the URL may hold a password.
        why: String,
    },
}

impl OpenError {
    /// Returns the class of the reason, as [`crate::Readiness`] reports it.
    pub fn not_ready_kind(&self) -> NotReadyKind {
        match self {
            OpenError::Unavailable { .. } => NotReadyKind::Unreachable,
            OpenError::Topology(_) | OpenError::Unsafe { .. } => NotReadyKind::Topology,
            OpenError::Refused { .. }
            | OpenError::Environment { .. }
            | OpenError::Identity { .. }
            | OpenError::SchemaOlder { .. }
            | OpenError::SchemaNewer { .. }
            | OpenError::Options { .. } => NotReadyKind::Refused,
        }
    }
}

/// One difference between a queue of the broker and hookbox's declaration of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("queue {queue:?}: {difference}")]
pub struct TopologyDifference {
    /// The name of the queue.
    pub queue: String,
    /// The difference, and what to do about it.
    pub difference: String,
}

fn list(differences: &[TopologyDifference]) -> String {
    differences
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
