//! The errors of commands. Each error says what was being done, to what, why that failed, and how
//! to fix the cause.

use std::io;

use hookbox_driver::{CursorRefusal, Fault};
use hookbox_event::ReceiptId;

use crate::{NoAnswer, Source};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The broker or the store failed.
    #[error(
        "could not {doing}: the {source_of_truth} failed; check that it runs and that \
         the config names the right one, then run this again"
    )]
    Failed {
        /// Whether the broker or the store failed.
        source_of_truth: Source,
        /// What the command was doing, such as "list the events".
        doing: String,
        /// Why the broker or the store failed.
        #[source]
        source: Fault,
    },
    /// The given text cannot be the beginning of an event id.
    #[error(
        "{prefix:?} cannot be the beginning of an event id: give 4 to 32 hex digits, as \
         `hookbox events list` prints them, or the whole id of a receipt"
    )]
    NotAPrefix {
        /// The text that was given as the beginning of an event id.
        prefix: String,
    },
    /// No event is stored for the given receipt.
    #[error(
        "receipt {receipt} has no outcome in the store: it is still in flight, it was not \
         accepted, or it is missing (`hookbox reconcile --wait 20min` lists what is missing)"
    )]
    NoOutcome {
        /// The id of the given receipt.
        receipt: ReceiptId,
    },
    /// No event matches the given digits, or several do.
    #[error(
        "no event, or more than one, has an id that begins with {prefix}: find the event with \
         `hookbox events list`, or give more digits"
    )]
    NoSingleEvent {
        /// The given digits.
        prefix: String,
    },
    /// The store cannot continue a list after the given cursor.
    #[error(
        "cannot continue after this cursor (start over without --after, and expect ends that \
         were read before)"
    )]
    CursorRefused {
        /// Why the store does not continue after the cursor.
        #[source]
        source: CursorRefusal,
    },
    /// The given name is unknown.
    #[error("there is no {kind} {name}: the config and the store know {known}")]
    UnknownName {
        /// What kind of thing the name belongs to, such as a route.
        kind: &'static str,
        /// The given name.
        name: String,
        /// The known names, separated by commas; "none" if there are none.
        known: String,
    },
    /// The given dead letter does not exist.
    #[error("there is no dead letter {id}: `hookbox dead list --state any` lists all dead letters")]
    NoDeadLetter {
        /// The given id.
        id: i64,
    },
    /// The command would apply to all dead letters, but `--all` was not given.
    #[error(
        "{action} which dead letters? Name their ids, narrow them down with --group, --route, \
         --topic or another filter, or give --all"
    )]
    NothingSelected {
        /// The change as a verb, such as "replay".
        action: &'static str,
    },
    /// The command would apply to all retries, but `--all` was not given.
    #[error(
        "hurry which retries? Name their events, narrow them down with --route, --source, --since \
         or --until, or give --all"
    )]
    NoRetriesSelected,
    /// The command would apply to all events, but `--all` was not given.
    #[error(
        "replay which events? Name them, narrow them down with --source, --topic, --since or \
         --until, or give --all"
    )]
    NoEventsSelected,
    /// The operator must be asked for confirmation, but could not be asked or did not answer.
    #[error(
        "nothing was changed. This would {question} Give --yes to skip this question, or \
         --dry-run to see the effect"
    )]
    NotAsked {
        /// What the command would change, as the end of a sentence that begins with "This would".
        question: String,
        /// Why the question has no answer.
        #[source]
        source: NoAnswer,
    },
    /// The operator's answer was no.
    #[error("nothing was changed: the answer was not yes")]
    Declined,
    /// The operator interrupted the command before its change.
    #[error("nothing was changed: the command was interrupted")]
    Interrupted,
    /// The output could not be written.
    #[error("could not write {to}: {advice}")]
    Output {
        /// Where the output should have been written.
        to: String,
        /// What the operator can do to remedy this.
        advice: &'static str,
        /// Why the output could not be written.
        #[source]
        source: io::Error,
    },
}

impl CommandError {
    pub(crate) fn store(doing: impl Into<String>) -> impl FnOnce(Fault) -> Self {
        let doing = doing.into();
        move |source| CommandError::Failed {
            source_of_truth: Source::Store,
            doing,
            source,
        }
    }
}
