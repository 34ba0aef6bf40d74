//! Decides whether the handler or the effect of a route runs for a claimed event.

use hookbox_driver::{Outcome, Store, VersionedEvent};

use crate::check::check;
use crate::claimed_event::ClaimedEvent;
use crate::newest_rule::NewestRule;
use crate::{Config, Json, OnConflict, newest};

/// What to do with a claimed event.
pub(crate) enum Verdict {
    /// The event has this outcome without a run of the handler or an external call.
    Ends(Outcome),
    /// The handler runs on this event, or the call is made for it. Its body may have been read
    /// already.
    Runs {
        read: Option<Json>,
        /// The key and the version of the event, on a route that applies only the newest event of
        /// each key.
        version: Option<VersionedEvent>,
    },
}

impl Verdict {
    /// Returns the key and the version of an event on which the handler is to run.
    pub fn version(&self) -> Option<&VersionedEvent> {
        match self {
            Verdict::Runs { version, .. } => version.as_ref(),
            Verdict::Ends(_) => None,
        }
    }
}

/// Decides whether the handler or the effect runs for a claimed event. It does not run if the event
/// is a conflict for an operator to decide, if its body is invalid, or if its key or version cannot
/// be read as the rule `newest` of its route says. `is_built` says whether a payload is built from
/// the body.
pub(crate) fn verdict<S: Store>(
    config: &Config<S>,
    event: &ClaimedEvent,
    is_built: bool,
    newest: Option<NewestRule<'_>>,
) -> Verdict {
    let envelope = &event.envelope;
    if let Some(original) = event.conflict_with
        && config.on_conflict(&envelope.topic) == OnConflict::DeadLetter
    {
        let detail = format!("another body came under the id of event {original}");
        return Verdict::Ends(Outcome::Conflict { detail });
    }
    let schemas = config.schemas.of(&envelope.source);
    let (topic, body) = (&envelope.topic, &envelope.body);
    let is_read = is_built || newest.is_some();
    let read = check(schemas.as_deref(), topic, body, is_read);
    let versioned = read.and_then(|read| {
        let version = match (newest, &read) {
            (Some(rule), Some(body)) => Some(newest::read(rule, event, body)?),
            (Some(_) | None, _) => None,
        };
        Ok((read, version))
    });
    match versioned {
        Ok((read, version)) => Verdict::Runs { read, version },
        Err(broken) => Verdict::Ends(Outcome::Dead {
            reason: broken.reason,
            detail: broken.detail,
        }),
    }
}
