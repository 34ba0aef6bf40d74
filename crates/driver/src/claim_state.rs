//! The states of an event on a route.

use serde::{Deserialize, Serialize};

/// The state of an event on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimState {
    /// A transaction claimed the event and has not settled it. Other transactions see this state
    /// only when the claim is orphaned.
    Running,
    /// The handler's effects are committed.
    Done,
    /// The event waits for its next attempt.
    Retrying,
    /// The route has given up on the event; see its dead letter.
    Dead,
    /// A newer event of the same key was done before, so the handler did not run.
    Stale,
}

impl ClaimState {
    /// Returns whether the event has ended on the route.
    pub fn is_end(self) -> bool {
        match self {
            ClaimState::Done | ClaimState::Dead | ClaimState::Stale => true,
            ClaimState::Running | ClaimState::Retrying => false,
        }
    }

    /// Returns the text of this state that the database stores.
    pub fn as_str(self) -> &'static str {
        match self {
            ClaimState::Running => "running",
            ClaimState::Done => "done",
            ClaimState::Retrying => "retrying",
            ClaimState::Dead => "dead",
            ClaimState::Stale => "stale",
        }
    }
}
