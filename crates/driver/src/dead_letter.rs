//! Dead letters: events that a route has given up on, as operators see them.

use hookbox_event::{EventId, RouteName, SourceName, Timestamp, Topic};
use serde::Serialize;

use crate::{ClaimState, DeadGroupId, DeadReason, EventDetail};

/// What has become of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadState {
    /// Waiting for a decision by an operator.
    Dead,
    /// Replayed; should it die again, it is `Dead` again.
    Replayed,
    /// Not to be replayed, by decision.
    Discarded,
}

impl DeadState {
    /// Every state, for parsing and help texts.
    pub const ALL: [DeadState; 3] = [DeadState::Dead, DeadState::Replayed, DeadState::Discarded];

    /// The value in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            DeadState::Dead => "dead",
            DeadState::Replayed => "replayed",
            DeadState::Discarded => "discarded",
        }
    }

    /// The state of a stored value.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// Which dead letters. Every field narrows; empty means all in any state.
#[derive(Debug, Clone, Default)]
pub struct DeadFilter {
    /// Only these.
    pub ids: Vec<i64>,
    /// Only of this route.
    pub route: Option<RouteName>,
    /// Only of this topic.
    pub topic: Option<Topic>,
    /// Only for this reason.
    pub reason: Option<DeadReason>,
    /// Only in this state.
    pub state: Option<DeadState>,
    /// Only of this group.
    pub group: Option<DeadGroupId>,
    /// Only of events of this source.
    pub source: Option<SourceName>,
    /// Only those that died (last) then or later.
    pub since: Option<Timestamp>,
    /// Only those that died (last) before.
    pub until: Option<Timestamp>,
    /// Only those whose detail contains this, letter by letter.
    pub error: Option<String>,
}

impl DeadFilter {
    /// Whether it filters by anything but the state.
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

/// Dead letters of one route that died for one reason of one cause.
#[derive(Debug, Clone, Serialize)]
pub struct DeadGroup {
    /// What names it.
    pub id: DeadGroupId,
    /// The route.
    pub route: RouteName,
    /// One of the topics.
    pub topic: Topic,
    /// How many topics there are.
    pub topics: u64,
    /// Why.
    pub reason: DeadReason,
    /// The detail of the newest of them.
    pub detail: String,
    /// The newest of them.
    pub newest: i64,
    /// How many.
    pub count: u64,
    /// When the first of them died.
    pub first_at: Timestamp,
    /// When the last of them died.
    pub last_at: Timestamp,
}

/// One dead letter in a list.
#[derive(Debug, Clone, Serialize)]
pub struct DeadRow {
    /// Its number, by which people name it.
    pub id: i64,
    /// The route that gave up.
    pub route: RouteName,
    /// Which event.
    pub event: EventId,
    /// What about.
    pub topic: Topic,
    /// What has become of it.
    pub state: DeadState,
    /// Why it died.
    pub reason: DeadReason,
    /// What an operator should know: the error, or the path and the rule.
    pub detail: String,
    /// Attempts made.
    pub attempts: u32,
    /// When it died (last).
    pub died_at: Timestamp,
}

/// One dead letter with its body and its history.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    /// The row in the list.
    #[serde(flatten)]
    pub row: DeadRow,
    /// What it died of before it was replayed, the first death first. While it is replayed, its
    /// last death is among them.
    pub earlier: Vec<EarlierDeath>,
    /// The event, with its body, receipts and attempts.
    pub history: EventDetail,
}

/// A death of a dead letter that was replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EarlierDeath {
    /// When it died.
    pub died_at: Timestamp,
    /// Why.
    pub reason: DeadReason,
    /// What an operator should know.
    pub detail: String,
    /// Attempts made until then.
    pub attempts: u32,
    /// When it was replayed.
    pub replayed_at: Timestamp,
    /// By whom.
    pub replayed_by: String,
}

/// Where the event of a dead letter stands on its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadClaim {
    /// Which dead letter.
    pub id: i64,
    /// When it died (last).
    pub died_at: Timestamp,
    /// Where the event stands.
    pub state: ClaimState,
}
