//! A ledger and a broker in memory, and an operator who answers as told.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hookbox_console::{NoAnswer, Operator};
use hookbox_driver::{
    AcceptedRestore, AccountGap, Accounts, AttemptRow, AuditRow, Backlog, ClaimRow, ClaimState,
    DeadFilter, DeadGroup, DeadLetter, DeadReason, DeadRow, DeadState, DeferReason, DeferredSince,
    EventDetail, EventFilter, EventRow, Fault, FaultKind, Imbalance, Ledger, Mismatch, OpenReceipt,
    ReceiptRow, Refusal, RetryRow, RouteBooks, SilentIngest, Unvouched, WitnessPosition,
};
use hookbox_event::{
    ContentDigest, EventId, Incarnation, InstanceId, ReceiptId, ReportedUpTo, Timestamp, Witness,
};

pub use crate::depths::{Depths, depth};

pub const BODY: &[u8] = b"{\"uid\":\"CANARY-1\"}";

/// The moment so many seconds after the tests' beginning of time.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_micros((1_790_000_000 + seconds) * 1_000_000)
}

pub fn event_id(number: u8) -> EventId {
    EventId::from_bytes([number; 32])
}

#[derive(Default)]
pub struct Memory {
    pub dead: Mutex<Vec<DeadRow>>,
    pub audits: Mutex<Vec<(String, String, String)>>,
    /// The sizes of the changes that were asked for, in ids.
    pub chunks: Mutex<Vec<usize>>,
    /// One reading of the books after another; the last one stays.
    pub books: Mutex<Vec<Vec<RouteBooks>>>,
    pub backlog: Vec<Backlog>,
    pub imbalances: Vec<Imbalance>,
    pub accounts: Accounts,
    pub unvouched: Vec<Unvouched>,
    pub silent: Vec<SilentIngest>,
    /// The newest; without one, the first, which every broker here holds.
    pub witness: Option<Witness>,
    pub accepted: Vec<AcceptedRestore>,
    pub audit_is_away: bool,
    /// Changes after so many chunks fail.
    pub away_after: Option<usize>,
    pub body: Option<Bytes>,
}

impl Memory {
    pub fn with_dead(count: i64) -> Self {
        let letter = |id: i64| DeadRow {
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
            dead: Mutex::new((1..=count).map(letter).collect()),
            ..Self::default()
        }
    }

    pub fn states(&self, state: DeadState) -> usize {
        let dead = self.dead.lock().unwrap();
        dead.iter().filter(|row| row.state == state).count()
    }

    fn matching(&self, filter: &DeadFilter) -> Vec<DeadRow> {
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
        };
        self.dead
            .lock()
            .unwrap()
            .iter()
            .filter(fits)
            .cloned()
            .collect()
    }

    fn turn(&self, filter: &DeadFilter, from: DeadState, to: DeadState) -> Result<u64, Fault> {
        let mut chunks = self.chunks.lock().unwrap();
        if self.away_after.is_some_and(|after| chunks.len() >= after) {
            return Err(away());
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

    fn detail(&self, event: EventId) -> EventDetail {
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
                    reason: DeferReason::ForeignLock,
                    since: at(20),
                }),
            }],
        }
    }
}

pub fn away() -> Fault {
    let cause = std::io::Error::other("connection refused");
    Fault::new(FaultKind::Unavailable, "take a connection", cause)
}

#[async_trait]
impl Ledger for Memory {
    async fn events(&self, _: &EventFilter, limit: u32) -> Result<Vec<EventRow>, Fault> {
        let row = |number: u8| EventRow {
            event: event_id(number),
            topic: "begini.application.complete".parse().unwrap(),
            route: "scores".parse().unwrap(),
            state: ClaimState::Done,
            attempts: 1,
            received_at: at(number.into()),
            settled_at: (number != 2).then(|| at(i64::from(number) + 1)),
        };
        Ok((1..=3).rev().map(row).take(limit as usize).collect())
    }

    async fn event(&self, prefix: &str) -> Result<Option<EventDetail>, Fault> {
        let event = event_id(0xab);
        let one = event.to_string().starts_with(prefix);
        Ok(one.then(|| self.detail(event)))
    }

    async fn event_of(&self, receipt: &ReceiptId) -> Result<Option<EventId>, Fault> {
        let known = *receipt == ReceiptId::from_bytes([1; 16]);
        Ok(known.then(|| event_id(0xab)))
    }

    async fn dead_groups(&self, filter: &DeadFilter) -> Result<Vec<DeadGroup>, Fault> {
        let rows = self.matching(filter);
        let group = |row: &DeadRow| DeadGroup {
            route: row.route.clone(),
            topic: row.topic.clone(),
            reason: row.reason,
            detail: row.detail.lines().next().unwrap().into(),
            count: rows.len() as u64,
            first_at: row.died_at,
            last_at: rows.last().unwrap().died_at,
        };
        Ok(rows.first().map(group).into_iter().collect())
    }

    async fn dead_count(&self, filter: &DeadFilter) -> Result<u64, Fault> {
        Ok(self.matching(filter).len() as u64)
    }

    async fn dead_list(
        &self,
        filter: &DeadFilter,
        after: i64,
        limit: u32,
    ) -> Result<Vec<DeadRow>, Fault> {
        let rows = self.matching(filter).into_iter();
        Ok(rows
            .filter(|row| row.id > after)
            .take(limit as usize)
            .collect())
    }

    async fn dead_show(&self, id: i64) -> Result<Option<DeadLetter>, Fault> {
        let dead = self.dead.lock().unwrap();
        let row = dead.iter().find(|row| row.id == id).cloned();
        Ok(row.map(|row| DeadLetter {
            history: self.detail(row.event),
            row,
        }))
    }

    async fn dead_replay(&self, filter: &DeadFilter, _: u32, _: &str) -> Result<u64, Fault> {
        self.turn(filter, DeadState::Dead, DeadState::Replayed)
    }

    async fn dead_discard(&self, filter: &DeadFilter, _: u32, _: &str) -> Result<u64, Fault> {
        self.turn(filter, DeadState::Dead, DeadState::Discarded)
    }

    async fn dead_restore(&self, filter: &DeadFilter, _: u32, _: &str) -> Result<u64, Fault> {
        self.turn(filter, DeadState::Discarded, DeadState::Dead)
    }

    async fn audit(&self, by: &str, action: &str, subject: &str) -> Result<(), Fault> {
        if self.audit_is_away {
            return Err(away());
        }
        let row = (by.to_owned(), action.to_owned(), subject.to_owned());
        self.audits.lock().unwrap().push(row);
        Ok(())
    }

    async fn audits(&self, _: u32) -> Result<Vec<AuditRow>, Fault> {
        Ok(Vec::new())
    }

    async fn books(&self) -> Result<Vec<RouteBooks>, Fault> {
        let mut books = self.books.lock().unwrap();
        if books.len() > 1 {
            return Ok(books.remove(0));
        }
        Ok(books.first().cloned().unwrap_or_default())
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, Fault> {
        Ok(self.backlog.clone())
    }

    async fn accounts(&self, _: u32, _: Duration) -> Result<Accounts, Fault> {
        Ok(self.accounts.clone())
    }

    async fn write_off(
        &self,
        receipts: &[OpenReceipt],
        gaps: &[AccountGap],
        by: &str,
        why: &str,
    ) -> Result<u64, Fault> {
        let mut audits = self.audits.lock().unwrap();
        for open in receipts {
            audits.push((by.into(), why.into(), open.receipt.to_string()));
        }
        for gap in gaps {
            audits.push((
                by.into(),
                why.into(),
                format!("{} to {}", gap.first, gap.last),
            ));
        }
        Ok((receipts.len() + gaps.len()) as u64)
    }

    async fn unvouched(&self, _: u32, _: Duration) -> Result<Vec<Unvouched>, Fault> {
        Ok(self.unvouched.clone())
    }

    async fn silent(&self, _: u32, _: Duration) -> Result<Vec<SilentIngest>, Fault> {
        Ok(self.silent.clone())
    }

    async fn witness_position(&self) -> Result<WitnessPosition, Fault> {
        let newest = self.witness.clone().unwrap_or(witness(1, 1));
        Ok(WitnessPosition {
            incarnation: Incarnation::from_bytes([1; 16]),
            since: at(0),
            confirmed: newest.sequence,
            receipts: newest.receipts,
            ingests: newest.ingests.clone(),
            newest: Some(newest),
        })
    }

    async fn accept_restore(
        &self,
        mismatch: &Mismatch,
        by: &str,
        why: &str,
    ) -> Result<Witness, Fault> {
        let row = (by.to_owned(), why.to_owned(), mismatch.describe());
        self.audits.lock().unwrap().push(row);
        Ok(witness(2, mismatch.highest() + 1))
    }

    async fn accepted_restores(&self, _: u32) -> Result<Vec<AcceptedRestore>, Fault> {
        Ok(self.accepted.clone())
    }

    async fn imbalances(&self, _: u32) -> Result<Vec<Imbalance>, Fault> {
        Ok(self.imbalances.clone())
    }

    async fn keep_refusals(&self, _: &[Refusal]) -> Result<(), Fault> {
        Ok(())
    }

    async fn refusals(&self, _: u32) -> Result<Vec<Refusal>, Fault> {
        Ok(Vec::new())
    }
}

/// A witness of the store of this byte, ten seconds later for each number, with ten receipts more.
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

/// An operator who answers as told, and interrupts after so many looks.
#[derive(Default)]
pub struct Person {
    pub answer: Option<bool>,
    pub asked: Vec<String>,
    pub told: Vec<(u64, u64)>,
    pub interrupts_after: Option<usize>,
}

impl Operator for Person {
    fn ask(&mut self, question: &str) -> Result<bool, NoAnswer> {
        self.asked.push(question.to_owned());
        self.answer.ok_or(NoAnswer::NoTerminal)
    }

    fn progress(&mut self, done: u64, total: u64) {
        self.told.push((done, total));
    }

    fn interrupted(&self) -> bool {
        self.interrupts_after
            .is_some_and(|after| self.told.len() > after)
    }
}

/// A message with a line for each sentence.
pub fn sentences(message: &impl ToString) -> String {
    let text = message.to_string();
    let text = text.replace(". ", ".\n").replace("? ", "?\n");
    text.replace(": ", ":\n") + "\n"
}
