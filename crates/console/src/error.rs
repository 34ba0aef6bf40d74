//! Why a command did not do what it was asked: what, to what, why, and what to do next.

use std::io;

use hookbox_driver::Fault;
use hookbox_event::ReceiptId;

use crate::{NoAnswer, Source};

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A source of truth failed on the way.
    #[error(
        "could not {doing}: the {source_of_truth} did not do its part; see that it runs and that \
         the config names the right one, then run this again"
    )]
    Failed {
        /// Who.
        source_of_truth: Source,
        /// What was being done.
        doing: String,
        /// Why.
        #[source]
        source: Fault,
    },
    /// Not the beginning of an event id.
    #[error(
        "{prefix:?} cannot be the beginning of an event id: give 4 to 64 hex digits, as \
         `hookbox events list` prints them, or the whole id of a receipt"
    )]
    NotAPrefix {
        /// What was given.
        prefix: String,
    },
    /// A receipt without an event.
    #[error(
        "receipt {receipt} has no outcome in the store: it is still on its way, it was not \
         accepted, or it is missing (`hookbox reconcile --wait 5min` names what is missing)"
    )]
    NoOutcome {
        /// Which.
        receipt: ReceiptId,
    },
    /// No event, or several.
    #[error(
        "no event, or more than one, has an id that begins with {prefix}: look it up with \
         `hookbox events list`, or give more digits"
    )]
    NoSingleEvent {
        /// What was given.
        prefix: String,
    },
    /// A name that is a mistake.
    #[error("there is no {kind} {name}: the config and the store know {known}")]
    UnknownName {
        /// What it would name.
        kind: &'static str,
        /// What was given.
        name: String,
        /// Those there are.
        known: String,
    },
    /// No such dead letter.
    #[error("there is no dead letter {id}: `hookbox dead list --state any` prints those there are")]
    NoDeadLetter {
        /// What was given.
        id: i64,
    },
    /// A change that would mean everything, without saying so.
    #[error(
        "{action} which dead letters? Name their ids, narrow them down with --group, --route, \
         --topic or another filter, or say --all"
    )]
    NothingSelected {
        /// What was to be done.
        action: &'static str,
    },
    /// A hurry that would mean everything, without saying so.
    #[error(
        "hurry which retries? Name their events, narrow them down with --route, --source, --since \
         or --until, or say --all"
    )]
    NoRetriesSelected,
    /// Nobody to ask.
    #[error(
        "nothing was changed. This would {question} Say --yes to do it without being asked, or \
         --dry-run to see what it means"
    )]
    NotAsked {
        /// What would be done, as a sentence.
        question: String,
        /// Why there is no answer.
        #[source]
        source: NoAnswer,
    },
    /// The answer was no.
    #[error("nothing was changed: the answer was not yes")]
    Declined,
    /// The output cannot be written.
    #[error("could not write {to}: {advice}")]
    Output {
        /// Where to.
        to: String,
        /// What to do.
        advice: &'static str,
        /// Why.
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
