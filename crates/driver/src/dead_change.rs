//! The changes that operators make to the state of dead letters.

use serde::Serialize;

use crate::{DeadState, EndOutcome};

/// A change that an operator makes to the state of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadChange {
    /// Makes the events of dead letters due at once, in a new round: the retry policy counts their
    /// attempts from the start.
    Replay,
    /// Marks dead letters as not to be replayed. Nothing is deleted.
    Discard,
    /// Reverts a discard.
    Restore,
}

impl DeadChange {
    /// Returns the state that a dead letter must have for this change.
    pub const fn from(self) -> DeadState {
        match self {
            DeadChange::Replay | DeadChange::Discard => DeadState::Dead,
            DeadChange::Restore => DeadState::Discarded,
        }
    }

    /// Returns the state that this change gives a dead letter.
    pub const fn to(self) -> DeadState {
        match self {
            DeadChange::Replay => DeadState::Replayed,
            DeadChange::Discard => DeadState::Discarded,
            DeadChange::Restore => DeadState::Dead,
        }
    }

    /// Returns the new end that this change gives the event; `None` for a replay, after which the
    /// next attempts decide how the event ends.
    pub const fn ends_as(self) -> Option<EndOutcome> {
        match self {
            DeadChange::Replay => None,
            DeadChange::Discard => Some(EndOutcome::Discarded),
            DeadChange::Restore => Some(EndOutcome::Dead),
        }
    }

    /// Returns the name of this change, which is also the subcommand of `hookbox dead` that makes
    /// it.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeadChange::Replay => "replay",
            DeadChange::Discard => "discard",
            DeadChange::Restore => "restore",
        }
    }

    /// Returns the name of this change in the audit.
    pub const fn action(self) -> &'static str {
        match self {
            DeadChange::Replay => "dead.replay",
            DeadChange::Discard => "dead.discard",
            DeadChange::Restore => "dead.restore",
        }
    }

    /// Returns whether this change is possible for undecodable bytes, too. They are not replayed,
    /// because another attempt could not decode them, either.
    pub const fn takes_undecodable(self) -> bool {
        match self {
            DeadChange::Replay => false,
            DeadChange::Discard | DeadChange::Restore => true,
        }
    }

    /// Returns whether this change is possible only for an event that has a receipt. A replay needs
    /// one, because it publishes the event with the header fields of its first receipt. An event
    /// has no receipt if its message was never decoded, whatever the reason of its dead letter is.
    pub const fn needs_receipt(self) -> bool {
        match self {
            DeadChange::Replay => true,
            DeadChange::Discard | DeadChange::Restore => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leads_from_one_state_to_another() {
        use DeadState::{Dead, Discarded, Replayed};
        let table = [
            (DeadChange::Replay, Dead, Replayed, None),
            (
                DeadChange::Discard,
                Dead,
                Discarded,
                Some(EndOutcome::Discarded),
            ),
            (DeadChange::Restore, Discarded, Dead, Some(EndOutcome::Dead)),
        ];
        for (change, from, to, end) in table {
            let found = (change.from(), change.to(), change.ends_as());
            assert_eq!(found, (from, to, end), "{change:?}");
        }
    }

    #[test]
    fn only_a_replay_needs_a_body_that_can_be_decoded() {
        assert!(!DeadChange::Replay.takes_undecodable());
        assert!(DeadChange::Discard.takes_undecodable());
        assert!(DeadChange::Restore.takes_undecodable());
    }

    #[test]
    fn only_a_replay_needs_a_receipt() {
        assert!(DeadChange::Replay.needs_receipt());
        assert!(!DeadChange::Discard.needs_receipt());
        assert!(!DeadChange::Restore.needs_receipt());
    }
}
