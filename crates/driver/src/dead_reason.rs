//! The reasons why a route gives up on an event.

use serde::{Deserialize, Serialize};

/// The reason why a route gave up on an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// Every attempt that the retry policy allows has failed.
    Exhausted,
    /// The handler reported a permanent error: it never accepts this event.
    Rejected,
    /// The body is not valid JSON.
    Malformed,
    /// The body breaks its JSON Schema.
    SchemaBroken,
    /// A body with another digest arrived under a known event id.
    Conflict,
    /// The bytes of the broker's message are not an envelope.
    Undecodable,
    /// The broker gave up delivering the message: it exceeded the delivery limit.
    DeliveryLimit,
    /// A handler ended its own transaction, so whether all its effects are committed is unknown.
    Orphaned,
    /// Every process that ran the event's handler ended during it, or seems to have.
    Quarantined,
}

impl DeadReason {
    /// Every reason, for parsing and help texts.
    pub const ALL: [DeadReason; 9] = [
        DeadReason::Exhausted,
        DeadReason::Rejected,
        DeadReason::Malformed,
        DeadReason::SchemaBroken,
        DeadReason::Conflict,
        DeadReason::Undecodable,
        DeadReason::DeliveryLimit,
        DeadReason::Orphaned,
        DeadReason::Quarantined,
    ];

    /// Returns the name in tables, logs and metrics.
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
        }
    }

    /// Returns the reason with this name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}
