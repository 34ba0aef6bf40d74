//! What the tests share: a fake store in memory, and values such as times and event ids.

use std::sync::Mutex;

use bytes::Bytes;
use hookbox_driver::{
    AcceptedRestore, Accounts, AttemptRow, Backlog, ClaimRow, ClaimState, DeadFilter, DeadGroupId,
    DeadReason, DeadRow, DeadState, DeferReason, DeferredSince, EarlierDeath, EventDetail, Fault,
    FaultKind, Imbalance, Names, ReceiptRow, Refusal, ReplayCandidate, ReplayChoice, ReplayFilter,
    ReplayPage, ReplayPosition, RetryRow, RouteBooks, RouteControls, SilentIngest, TargetRow,
    Unvouched, WaitingRetry,
};
use hookbox_event::{
    ContentDigest, EventId, EventNumber, Incarnation, InstanceId, ReceiptId, ReportedUpTo,
    Timestamp, Witness,
};

pub use crate::depths::{Depths, depth};
pub use crate::person::{Meanwhile, Person};

pub const BODY: &[u8] = b"{\"uid\":\"CANARY-1\"}";

/// Returns the moment that is `seconds` seconds after a fixed moment, which all tests share.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_micros((1_790_000_000 + seconds) * 1_000_000)
}

pub fn event_id(number: u8) -> EventId {
    EventId::from_bytes([number; 16])
}

#[derive(Default)]
pub struct Memory {
    pub dead: Mutex<Vec<DeadRow>>,
    pub audits: Mutex<Vec<(String, String, String)>>,
    /// For each transaction, how many dead letters it was to change.
    pub chunks: Mutex<Vec<usize>>,
    /// The outcomes by route. Each reading returns the next list. When all lists were returned, the
    /// last list is repeated.
    pub books: Mutex<Vec<Vec<RouteBooks>>>,
    pub backlog: Vec<Backlog>,
    /// The pauses and limits that operators have set for routes.
    pub controls: Mutex<RouteControls>,
    pub imbalances: Vec<Imbalance>,
    pub accounts: Accounts,
    pub unvouched: Vec<Unvouched>,
    pub silent: Vec<SilentIngest>,
    /// The newest witness message of this store. By default (`None`) it is the first witness
    /// message of the store, which every fake broker of these tests holds.
    pub witness: Option<Witness>,
    pub accepted: Vec<AcceptedRestore>,
    pub audit_is_unavailable: bool,
    /// The number of transactions that succeed before every later transaction fails; `None` if no
    /// transaction fails.
    pub unavailable_after: Option<usize>,
    pub body: Option<Bytes>,
    /// How many dead letters have no group yet because an older hookbox wrote them.
    pub ungrouped: Mutex<u64>,
    /// The names of routes, sources and topics that this store has seen.
    pub names: Names,
    /// The earlier deaths that are reported for every dead letter.
    pub earlier: Vec<EarlierDeath>,
    /// Whether a worker runs, so that replayed dead letters get an outcome.
    pub decides: bool,
    pub decided: Mutex<usize>,
    /// The retries that are not due yet. If there are none, three other retries are listed.
    pub early: Mutex<Vec<WaitingRetry>>,
    /// Whether the next attempt of a retry that was made due fails at once.
    pub fails_at_once: bool,
    /// Whether the deferred event is leased for an external call.
    pub leased: bool,
    pub targets: Vec<TargetRow>,
    /// The events that a replay finds.
    pub candidates: Mutex<Vec<ReplayCandidate>>,
    /// One line for each transaction that replayed events: who, why, and how many.
    pub replays: Mutex<Vec<String>>,
    /// The numbers of the events that were replayed.
    pub replayed: Mutex<Vec<EventNumber>>,
}

impl Memory {
    /// Sorts at most `limit` events after a position by what a replay does with them, as a real
    /// store does.
    pub fn replay_choice(
        &self,
        filter: &ReplayFilter,
        after: Option<ReplayPosition>,
        limit: u32,
    ) -> ReplayChoice {
        let mut candidates = self.candidates.lock().unwrap().clone();
        candidates.retain(|it| {
            Some(it.position) > after
                && filter.until.is_none_or(|end| it.position.at < end)
                && (filter.numbers.is_empty() || filter.numbers.contains(&it.position.number))
        });
        candidates.sort_by_key(|it| it.position);
        candidates.truncate(limit as usize);
        ReplayChoice::of(filter, &candidates)
    }

    /// Records a transaction that replayed a page of events.
    pub fn record_replay(&self, choice: ReplayChoice, by: &str, why: &str) -> ReplayPage {
        let line = format!("{by}: {why}: {}", choice.replayed.len());
        self.replays.lock().unwrap().push(line);
        self.replayed.lock().unwrap().extend(choice.replayed);
        choice.page
    }

    pub fn with_dead(count: i64) -> Self {
        let row = |id: i64| DeadRow {
            id,
            route: if id % 2 == 0 { "scores" } else { "all" }.parse().unwrap(),
            event: event_id(u8::try_from(id % 200).unwrap()),
            topic: "begini.ios_score.complete".parse().unwrap(),
            state: DeadState::Dead,
            reason: if id % 5 == 0 {
                DeadReason::Undecodable
            } else {
                DeadReason::Exhausted
            },
            detail: "the partner said \u{1b}[31mno\nand more".into(),
            attempts: 3,
            died_at: at(id),
        };
        Self {
            dead: Mutex::new((1..=count).map(row).collect()),
            ..Self::default()
        }
    }

    pub fn states(&self, state: DeadState) -> usize {
        let dead = self.dead.lock().unwrap();
        dead.iter().filter(|row| row.state == state).count()
    }

    pub fn matching(&self, filter: &DeadFilter) -> Vec<DeadRow> {
        let fits = |row: &&DeadRow| {
            (filter.ids.is_empty() || filter.ids.contains(&row.id))
                && filter
                    .route
                    .as_ref()
                    .is_none_or(|route| *route == row.route)
                && filter
                    .topic
                    .as_ref()
                    .is_none_or(|topic| *topic == row.topic)
                && filter.reason.is_none_or(|reason| reason == row.reason)
                && filter.state.is_none_or(|state| state == row.state)
                && filter.group.is_none_or(|group| {
                    group == DeadGroupId::of(&row.route, row.reason, &row.detail)
                })
        };
        self.dead
            .lock()
            .unwrap()
            .iter()
            .filter(fits)
            .cloned()
            .collect()
    }

    pub fn turn(&self, filter: &DeadFilter, from: DeadState, to: DeadState) -> Result<u64, Fault> {
        let mut chunks = self.chunks.lock().unwrap();
        if self
            .unavailable_after
            .is_some_and(|after| chunks.len() >= after)
        {
            return Err(unavailable());
        }
        chunks.push(filter.ids.len());
        let mut changed = 0;
        for row in self.dead.lock().unwrap().iter_mut() {
            let replayable = to != DeadState::Replayed || row.reason != DeadReason::Undecodable;
            if filter.ids.contains(&row.id) && row.state == from && replayable {
                row.state = to;
                changed += 1;
            }
        }
        Ok(changed)
    }

    pub fn detail(&self, event: EventId) -> EventDetail {
        let body = self.body.clone().unwrap_or(Bytes::from_static(BODY));
        EventDetail {
            event,
            topic: "begini.ios_score.complete".parse().unwrap(),
            digest: ContentDigest::from_bytes([7; 32]),
            body_bytes: body.len() as u64,
            body,
            seal: None,
            received_at: at(0),
            claims: vec![ClaimRow {
                route: "scores".parse().unwrap(),
                state: ClaimState::Retrying,
                attempts: 1,
                claimed_at: at(1),
                settled_at: Some(at(2)),
                epoch: self.leased.then_some(7),
            }],
            receipts: vec![ReceiptRow {
                receipt: ReceiptId::from_bytes([1; 16]),
                route: "scores".parse().unwrap(),
                outcome: "retrying".into(),
                key_id: "2026-11".into(),
                instance: InstanceId::from_bytes([2; 16]),
                other_digest: None,
                number: 42,
                received_at: at(0),
                settled_at: at(2),
            }],
            attempts: vec![AttemptRow {
                route: "scores".parse().unwrap(),
                attempt: 1,
                outcome: "transient".into(),
                error: Some("insert the score: \u{1b}no".into()),
                took_ms: 12,
                at: at(2),
            }],
            retries: vec![RetryRow {
                route: "scores".parse().unwrap(),
                attempt: 2,
                not_before: at(60),
                queued_at: None,
                deferred: Some(DeferredSince {
                    reason: if self.leased {
                        DeferReason::Leased
                    } else {
                        DeferReason::ForeignLock
                    },
                    since: at(20),
                }),
                target: self.leased.then(|| "https://example.com".parse().unwrap()),
            }],
        }
    }
}

pub fn unavailable() -> Fault {
    let cause = std::io::Error::other("connection refused");
    Fault::new(FaultKind::Unavailable, "take a connection", cause)
}

/// Returns a witness message of the store that the byte `store` identifies. With each sequence
/// number, ten more seconds have passed and ten more receipts were reported.
pub fn witness(store: u8, sequence: u64) -> Witness {
    Witness {
        store: Incarnation::from_bytes([store; 16]),
        sequence,
        at: at(10 * i64::try_from(sequence).unwrap()),
        receipts: 10 * sequence,
        ingests: vec![ReportedUpTo {
            instance: InstanceId::from_bytes([7; 16]),
            number: 10 * sequence,
        }],
        routes: vec!["scores".parse().unwrap()],
    }
}

/// Breaks a message into lines: a new line starts after each sentence and each colon.
pub fn sentences(message: &impl ToString) -> String {
    let text = message.to_string();
    let text = text.replace(". ", ".\n").replace("? ", "?\n");
    text.replace(": ", ":\n") + "\n"
}

/// Returns a refusal whose fields depend on `number`. Refusal 2 has no digest of its body.
pub fn refusal(number: u8) -> Refusal {
    Refusal {
        request: ReceiptId::from_bytes([number; 16]),
        source: "begini".into(),
        reason: "bad_signature".into(),
        body_digest: (number != 2).then(|| "00".repeat(32)),
        body_bytes: 100 * u64::from(number),
        peer: "192.0.2.7".into(),
        at: at(number.into()),
    }
}
