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
    /// The dead letter was replayed. When its event is given up on again, it returns to `Dead`.
    Replayed,
    /// An operator has decided that the dead letter is not to be replayed.
    Discarded,
}

impl DeadState {
    /// Every state, for parsing and help texts.
    pub const ALL: [DeadState; 3] = [DeadState::Dead, DeadState::Replayed, DeadState::Discarded];

    /// Returns the value that the database stores.
    pub fn as_str(self) -> &'static str {
        match self {
            DeadState::Dead => "dead",
            DeadState::Replayed => "replayed",
            DeadState::Discarded => "discarded",
        }
    }

    /// Returns the state of a stored value.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A filter for dead letters. A dead letter must match every field that is set; an empty filter
/// matches all of them, in any state.
#[derive(Debug, Clone, Default)]
pub struct DeadFilter {
    /// Only these.
    pub ids: Vec<i64>,
    /// Keeps only dead letters of this route.
    pub route: Option<RouteName>,
    /// Keeps only dead letters of this topic.
    pub topic: Option<Topic>,
    /// Keeps only rows with this reason.
    pub reason: Option<DeadReason>,
    /// Keeps only dead letters in this state.
    pub state: Option<DeadState>,
    /// Keeps only dead letters of this group.
    pub group: Option<DeadGroupId>,
    /// Keeps only events of this source.
    pub source: Option<SourceName>,
    /// Keeps only dead letters that were last given up on at this moment or later.
    pub since: Option<Timestamp>,
    /// Keeps only dead letters that were last given up on before this moment.
    pub until: Option<Timestamp>,
    /// Keeps only dead letters whose detail contains this text; upper and lower case differ.
    pub error: Option<String>,
}

impl DeadFilter {
    /// Returns whether any field other than the state is set.
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

/// The dead letters of one route that have the same reason and the same cause.
#[derive(Debug, Clone, Serialize)]
pub struct DeadGroup {
    /// What names it.
    pub id: DeadGroupId,
    /// The route.
    pub route: RouteName,
    /// The topic of one dead letter of the group.
    pub topic: Topic,
    /// The number of topics in the group.
    pub topics: u64,
    /// Why.
    pub reason: DeadReason,
    /// The detail of the newest dead letter of the group.
    pub detail: String,
    /// The id of the newest dead letter of the group.
    pub newest: i64,
    /// How many.
    pub count: u64,
    /// The moment when the route gave up on the group's first dead letter.
    pub first_at: Timestamp,
    /// The moment when the route gave up on the group's last dead letter.
    pub last_at: Timestamp,
}

/// One dead letter in a list.
#[derive(Debug, Clone, Serialize)]
pub struct DeadRow {
    /// The number by which operators refer to the dead letter.
    pub id: i64,
    /// The route that gave up on the event.
    pub route: RouteName,
    /// Which event.
    pub event: EventId,
    /// What about.
    pub topic: Topic,
    /// The state of the dead letter.
    pub state: DeadState,
    /// Why it died.
    pub reason: DeadReason,
    /// The explanation for operators: the error, or the path and the schema rule that it breaks.
    pub detail: String,
    /// Attempts made.
    pub attempts: u32,
    /// The moment when the route last gave up on the event.
    pub died_at: Timestamp,
}

/// One dead letter with its body and its history.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    /// The dead letter as it appears in a list.
    #[serde(flatten)]
    pub row: DeadRow,
    /// The reasons why the route gave up before each replay, oldest first. While the dead letter is
    /// replayed, its last one is included.
    pub earlier: Vec<EarlierDeath>,
    /// The event with its body, receipts and attempts.
    pub history: EventDetail,
}

/// Why and when a route gave up on an event before a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EarlierDeath {
    /// When it died.
    pub died_at: Timestamp,
    /// Why.
    pub reason: DeadReason,
    /// The explanation for operators.
    pub detail: String,
    /// The number of attempts made until then.
    pub attempts: u32,
    /// The moment when the dead letter was replayed.
    pub replayed_at: Timestamp,
    /// By whom.
    pub replayed_by: String,
}

/// The state of a dead letter's event on its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadClaim {
    /// Which dead letter.
    pub id: i64,
    /// The moment when the route last gave up on the event.
    pub died_at: Timestamp,
    /// The state of the event.
    pub state: ClaimState,
}
