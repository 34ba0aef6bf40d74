//! Implements the `Ledger` seam for [`Memory`], the fake store of these tests.

use std::time::Duration;

use async_trait::async_trait;
use hookbox_driver::{
    AcceptedRestore, AccountGap, Accounts, AuditFilter, AuditRow, Backlog, ClaimState, DeadClaim,
    DeadFilter, DeadGroup, DeadGroupId, DeadLetter, DeadRow, DeadState, DeferReason, DeferredSince,
    EndCursor, EndsRead, EventCursor, EventDetail, EventFilter, EventRow, Fault, HeldBack,
    Imbalance, Ledger, Mismatch, Name, Names, OpenReceipt, Refusal, RefusalCursor, RefusalFilter,
    RefusalGroup, ReplayChoice, ReplayFilter, ReplayPage, ReplayPosition, RetryFilter, RouteBooks,
    RouteChange, RouteControls, RouteScope, SilentIngest, TargetRow, Unvouched, WaitingRetry,
    WitnessPosition,
};
use hookbox_event::{EventId, Incarnation, ReceiptId, RouteName, Witness};

use crate::follow;
use crate::world::{Memory, at, event_id, refusal, unavailable, witness};

#[async_trait]
impl Ledger for Memory {
    async fn events(
        &self,
        _: &EventFilter,
        after: Option<&EventCursor>,
        limit: u32,
    ) -> Result<Vec<EventRow>, Fault> {
        let row = |number: u8| EventRow {
            event: event_id(number),
            topic: "begini.application.complete".parse().unwrap(),
            route: "scores".parse().unwrap(),
            state: ClaimState::Done,
            attempts: 1,
            received_at: at(number.into()),
            settled_at: (number != 2).then(|| at(i64::from(number) + 1)),
        };
        let rows = (1..=3).rev().map(row);
        let behind = |row: &EventRow| after.is_none_or(|after| row.received_at < after.at);
        Ok(rows.filter(behind).take(limit as usize).collect())
    }

    async fn ends(
        &self,
        after: Option<&EndCursor>,
        _: Option<&RouteName>,
        limit: u32,
    ) -> Result<EndsRead, Fault> {
        Ok(follow::ends(after, limit))
    }

    async fn ends_held_back(&self) -> Result<Option<HeldBack>, Fault> {
        Ok(Some(follow::held_back()))
    }

    async fn names(&self) -> Result<Names, Fault> {
        Ok(self.names.clone())
    }

    async fn has_seen(&self, name: Name<'_>) -> Result<bool, Fault> {
        Ok(name.among(&self.names).contains(name.as_str()))
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

    async fn replayable(
        &self,
        filter: &ReplayFilter,
        after: Option<ReplayPosition>,
        limit: u32,
    ) -> Result<ReplayChoice, Fault> {
        Ok(self.replay_choice(filter, after, limit))
    }

    async fn replay(
        &self,
        filter: &ReplayFilter,
        after: Option<ReplayPosition>,
        limit: u32,
        by: &str,
        why: &str,
    ) -> Result<ReplayPage, Fault> {
        let choice = self.replay_choice(filter, after, limit);
        Ok(self.record_replay(choice, by, why))
    }

    async fn dead_groups(&self, filter: &DeadFilter) -> Result<Vec<DeadGroup>, Fault> {
        let rows = self.matching(filter);
        let group = |row: &DeadRow| DeadGroup {
            id: DeadGroupId::of(&row.route, row.reason, &row.detail),
            route: row.route.clone(),
            topic: row.topic.clone(),
            topics: if rows.len() > 4 { 2 } else { 1 },
            reason: row.reason,
            detail: row.detail.clone(),
            newest: rows.last().unwrap().id,
            count: rows.len() as u64,
            first_at: row.died_at,
            last_at: rows.last().unwrap().died_at,
        };
        Ok(rows.first().map(group).into_iter().collect())
    }

    async fn dead_regroup(&self, limit: u32) -> Result<u64, Fault> {
        let mut ungrouped = self.ungrouped.lock().unwrap();
        let some = u64::from(limit).min(*ungrouped);
        *ungrouped -= some;
        Ok(some)
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
            earlier: self.earlier.clone(),
            history: self.detail(row.event),
            row,
        }))
    }

    async fn dead_claims(&self, ids: &[i64]) -> Result<Vec<DeadClaim>, Fault> {
        // At each poll, sixty more replayed dead letters get their outcome. Of these, every tenth
        // is dead again, and the others are done.
        let mut dead = self.dead.lock().unwrap();
        let mut decided = self.decided.lock().unwrap();
        if self.decides {
            *decided += 60;
        }
        let claim = |row: &mut DeadRow| {
            let is_decided = ids.iter().position(|id| *id == row.id).unwrap() < *decided;
            let state = match (is_decided, row.id % 10) {
                // A dead letter that is still in the state `Dead` was not replayed, so the state of
                // its event is dead as before.
                _ if row.state == DeadState::Dead => {
                    return DeadClaim {
                        id: row.id,
                        died_at: at(row.id),
                        state: ClaimState::Dead,
                    };
                }
                (false, _) => ClaimState::Retrying,
                (true, 0) => ClaimState::Dead,
                (true, _) => ClaimState::Done,
            };
            DeadClaim {
                id: row.id,
                died_at: at(row.id + i64::from(state == ClaimState::Dead)),
                state,
            }
        };
        let asked = dead.iter_mut().filter(|row| ids.contains(&row.id));
        Ok(asked.map(claim).collect())
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
        if self.audit_is_unavailable {
            return Err(unavailable());
        }
        let row = (by.to_owned(), action.to_owned(), subject.to_owned());
        self.audits.lock().unwrap().push(row);
        Ok(())
    }

    async fn audits(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, Fault> {
        let audits = self.audits.lock().unwrap();
        let rows = (1..).zip(audits.iter()).map(|(id, row)| AuditRow {
            id,
            at: at(id),
            actor: row.0.clone(),
            action: row.1.clone(),
            subject: row.2.clone(),
        });
        let fits = |row: &AuditRow| {
            filter
                .actor
                .as_ref()
                .is_none_or(|actor| *actor == row.actor)
                && before.is_none_or(|before| row.id < before)
        };
        let mut rows: Vec<AuditRow> = rows.filter(fits).collect();
        rows.reverse();
        rows.truncate(limit as usize);
        Ok(rows)
    }

    async fn retries(
        &self,
        _: &RetryFilter,
        after: Option<&EventCursor>,
        limit: u32,
    ) -> Result<Vec<WaitingRetry>, Fault> {
        if let Some(early) = self.early_page(after, limit) {
            return Ok(early);
        }
        let row = |number: u8| WaitingRetry {
            event: event_id(number),
            route: "scores".parse().unwrap(),
            topic: "begini.application.complete".parse().unwrap(),
            attempt: number.into(),
            not_before: at(number.into()),
            queued_at: (number == 1).then(|| at(2)),
            deferred: (number == 2).then(|| DeferredSince {
                reason: if self.leased {
                    DeferReason::Leased
                } else {
                    DeferReason::ForeignLock
                },
                since: at(0),
            }),
            error: (number == 3).then(|| "the partner said \u{9b}31mno".to_owned()),
        };
        let rows = (1..=3).map(row);
        let behind = |row: &WaitingRetry| after.is_none_or(|after| row.not_before > after.at);
        Ok(rows.filter(behind).take(limit as usize).collect())
    }

    async fn retries_early(&self, _: &RetryFilter) -> Result<u64, Fault> {
        Ok(self.early.lock().unwrap().len() as u64)
    }

    async fn hurry(&self, filter: &RetryFilter, limit: u32, by: &str) -> Result<u64, Fault> {
        if self.audit_is_unavailable {
            return Err(unavailable());
        }
        let some = self.make_due(filter, limit);
        let row = (by.to_owned(), "retries.hurry".to_owned(), some.to_string());
        self.audits.lock().unwrap().push(row);
        Ok(some)
    }

    async fn controls(&self) -> Result<RouteControls, Fault> {
        Ok(self.controls.lock().unwrap().clone())
    }

    async fn change_route(
        &self,
        scope: &RouteScope,
        change: &RouteChange,
        by: &str,
    ) -> Result<bool, Fault> {
        let mut controls = self.controls.lock().unwrap();
        let Some(changed) = controls.with(scope, change, by, at(0)) else {
            return Ok(false);
        };
        let subject = changed.row(scope).subject(change);
        let row = (by.to_owned(), change.action().to_owned(), subject);
        self.audits.lock().unwrap().push(row);
        *controls = changed;
        Ok(true)
    }

    async fn targets(&self) -> Result<Vec<TargetRow>, Fault> {
        Ok(self.targets.clone())
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

    async fn refusals(
        &self,
        _: &RefusalFilter,
        after: Option<&RefusalCursor>,
        limit: u32,
    ) -> Result<Vec<Refusal>, Fault> {
        let rows = (1..=3).rev().map(refusal);
        let behind = |row: &Refusal| after.is_none_or(|after| row.at < after.at);
        Ok(rows.filter(behind).take(limit as usize).collect())
    }

    async fn refusal_groups(&self, _: &RefusalFilter) -> Result<Vec<RefusalGroup>, Fault> {
        Ok(vec![RefusalGroup {
            source: "begini\u{202e}".into(),
            reason: "bad_signature".into(),
            count: 3,
            peers: 1,
            first_at: at(1),
            last_at: at(3),
        }])
    }
}
