//! The reasons why a route gives up on an event.

use serde::{Deserialize, Serialize};

/// The reason why a route gave up on an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// Every attempt that the retry policy allows has failed.
    Exhausted,
    /// The handler reported a permanent error, which means that no later attempt on this event can
    /// succeed.
    Rejected,
    /// The body is not valid JSON.
    Malformed,
    /// The body violates its JSON Schema.
    SchemaBroken,
    /// A body with another digest arrived under a known event id.
    Conflict,
    /// The broker's message could not be decoded as envelopes.
    Undecodable,
    /// The broker moved the message to the dead-letter queue, because the message exceeded the
    /// delivery limit.
    DeliveryLimit,
    /// A handler ended its own transaction, so some of its effects may be committed and others not.
    Orphaned,
    /// Several processes ended while they ran the handler on this event, or seem to have ended
    /// then. The worker does not run the handler on the event again, because it might end further
    /// processes.
    Quarantined,
    /// Several external calls for the event were begun in a row, and none of them recorded its
    /// outcome. Whether any of them had its effect is not known.
    Lost,
    /// The route applies only the newest event of each key, and the key or the version could not be
    /// read from the body.
    Unversioned,
}

impl DeadReason {
    /// Every reason, for parsers and help texts.
    pub const ALL: [DeadReason; 11] = [
        DeadReason::Exhausted,
        DeadReason::Rejected,
        DeadReason::Malformed,
        DeadReason::SchemaBroken,
        DeadReason::Conflict,
        DeadReason::Undecodable,
        DeadReason::DeliveryLimit,
        DeadReason::Orphaned,
        DeadReason::Quarantined,
        DeadReason::Lost,
        DeadReason::Unversioned,
    ];

    /// Returns the name of this reason in tables, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            DeadReason::Exhausted => "exhausted",
            DeadReason::Rejected => "rejected",
            DeadReason::Malformed => "malformed",
            DeadReason::SchemaBroken => "schema_broken",
            DeadReason::Conflict => "conflict",
            DeadReason::Undecodable => "undecodable",
            DeadReason::DeliveryLimit => "delivery_limit",
            DeadReason::Orphaned => "orphaned",
            DeadReason::Quarantined => "quarantined",
            DeadReason::Lost => "lost",
            DeadReason::Unversioned => "unversioned",
        }
    }

    /// Returns the reason with this name; `None` for any other text.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}
