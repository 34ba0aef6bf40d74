//! Why a route gives up on an event.

use serde::{Deserialize, Serialize};

/// Why a route gave up on an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// Every attempt that the retry policy allows has failed.
    Exhausted,
    /// The handler reported a permanent error: it will never accept this event.
    Rejected,
    /// The body is not JSON that can be read.
    Malformed,
    /// The body breaks its JSON Schema.
    SchemaBroken,
    /// Another body came under the same event id.
    Conflict,
    /// What came out of the broker is not an envelope.
    Undecodable,
    /// The broker gave up delivering it.
    DeliveryLimit,
    /// A handler ended its transaction, so whether all its effects stand is not known.
    Orphaned,
    /// Every process that ran its handler died of it, or seems to have.
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

    /// The name in tables, logs and metrics.
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

    /// The reason with this name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}
