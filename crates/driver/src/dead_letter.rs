//! Dead letters: events that a route has given up on, as operators see them.

use hookbox_event::{EventId, RouteName, SourceName, Timestamp, Topic};
use serde::Serialize;

use crate::{ClaimState, DeadGroupId, DeadReason, EventDetail};

/// The state of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadState {
    /// The dead letter waits for a decision by an operator.
    Dead,
    /// An operator has replayed the dead letter. If the route gives up on the event again, the
    /// state changes back to `Dead`.
    Replayed,
    /// An operator has decided that the dead letter is not to be replayed.
    Discarded,
}

impl DeadState {
    /// Every state, for parsers and help texts.
    pub const ALL: [DeadState; 3] = [DeadState::Dead, DeadState::Replayed, DeadState::Discarded];

    /// Returns the text of this state that the database stores.
    pub fn as_str(self) -> &'static str {
        match self {
            DeadState::Dead => "dead",
            DeadState::Replayed => "replayed",
            DeadState::Discarded => "discarded",
        }
    }

    /// Returns the state with this text; `None` for any other text.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A filter for dead letters. A dead letter must match every field that is set; an empty filter
/// matches all of them, in any state.
#[derive(Debug, Clone, Default)]
pub struct DeadFilter {
    /// Selects only the dead letters with these ids; empty for any id.
    pub ids: Vec<i64>,
    /// Selects only dead letters of this route.
    pub route: Option<RouteName>,
    /// Selects only dead letters of this topic.
    pub topic: Option<Topic>,
    /// Selects only dead letters with this reason.
    pub reason: Option<DeadReason>,
    /// Selects only dead letters in this state.
    pub state: Option<DeadState>,
    /// Selects only dead letters of this group.
    pub group: Option<DeadGroupId>,
    /// Selects only dead letters whose event comes from this source.
    pub source: Option<SourceName>,
    /// Selects only dead letters that were last given up on at this moment or later.
    pub since: Option<Timestamp>,
    /// Selects only dead letters that were last given up on before this moment.
    pub until: Option<Timestamp>,
    /// Selects only dead letters whose detail contains this text. The comparison is case-sensitive.
    pub error: Option<String>,
}

impl DeadFilter {
    /// Returns whether any field is set besides the state. If not, the filter matches all dead
    /// letters, or all in one state.
    pub fn is_narrow(&self) -> bool {
        !self.ids.is_empty()
            || self.route.is_some()
            || self.topic.is_some()
            || self.reason.is_some()
            || self.group.is_some()
            || self.source.is_some()
            || self.since.is_some()
            || self.until.is_some()
            || self.error.is_some()
    }
}

/// All dead letters of one route that have the same reason and the same cause.
#[derive(Debug, Clone, Serialize)]
pub struct DeadGroup {
    /// The id of the group.
    pub id: DeadGroupId,
    /// The route that gave up on the events.
    pub route: RouteName,
    /// The topic of one dead letter of the group.
    pub topic: Topic,
    /// The number of topics in the group.
    pub topics: u64,
    /// The reason why the route gave up on the events.
    pub reason: DeadReason,
    /// The detail of the newest dead letter of the group.
    pub detail: String,
    /// The id of the newest dead letter of the group.
    pub newest: i64,
    /// The number of dead letters in the group.
    pub count: u64,
    /// When the route first gave up on an event of the group.
    pub first_at: Timestamp,
    /// When the route last gave up on an event of the group.
    pub last_at: Timestamp,
}

/// One dead letter in a list.
#[derive(Debug, Clone, Serialize)]
pub struct DeadRow {
    /// The number by which operators refer to the dead letter.
    pub id: i64,
    /// The route that gave up on the event.
    pub route: RouteName,
    /// The event that the route gave up on.
    pub event: EventId,
    /// The topic of the event.
    pub topic: Topic,
    /// The state of the dead letter.
    pub state: DeadState,
    /// The reason why the route gave up on the event.
    pub reason: DeadReason,
    /// The detail for operators: the error of the last attempt, or the path in the body and the
    /// schema rule that it violates.
    pub detail: String,
    /// The number of attempts made.
    pub attempts: u32,
    /// The moment when the route last gave up on the event.
    pub died_at: Timestamp,
}

/// One dead letter with the body and the history of its event.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    /// The dead letter as it appears in a list.
    #[serde(flatten)]
    pub row: DeadRow,
    /// Why the route had given up on the event before each replay, oldest first. In state
    /// `Replayed`, the last entry is the reason from before the latest replay.
    pub earlier: Vec<EarlierDeath>,
    /// The event with its body, receipts and attempts.
    pub history: EventDetail,
}

/// Why and when a route gave up on an event that was then replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EarlierDeath {
    /// The moment when the route gave up on the event.
    pub died_at: Timestamp,
    /// The reason why the route gave up on the event.
    pub reason: DeadReason,
    /// The detail for operators, such as the error.
    pub detail: String,
    /// The number of attempts made until the route gave up.
    pub attempts: u32,
    /// The moment when the dead letter was replayed.
    pub replayed_at: Timestamp,
    /// The operator who replayed the dead letter.
    pub replayed_by: String,
}

/// The present state of a dead letter's event on its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadClaim {
    /// The id of the dead letter.
    pub id: i64,
    /// The moment when the route last gave up on the event.
    pub died_at: Timestamp,
    /// The present state of the event.
    pub state: ClaimState,
}
