//! What the cases about external calls share: they take leases as a worker does, and build the ends
//! of calls.

use std::num::NonZeroU32;
use std::time::Duration;

use hookbox_driver::{
    CallEnd, CallResult, Claimed, CommitError, DeadReason, EventDetail, Fault, FaultKind,
    LeaseTerms, LeaseWish, Leased, Ledger, NoPermit, Outcome, ReceiptOutcome, Store, TargetAnswer,
    TargetLimits, TargetName, VersionedEvent,
};
use hookbox_event::{Envelope, EventNumber, Redo};

use crate::envelope;
use crate::harness::one;

/// The length of a lease that does not end while a test runs.
pub(super) const LONG: Duration = Duration::from_secs(3600);

/// The length of a lease that has already ended when its transaction is committed.
pub(super) const ENDED: Duration = Duration::ZERO;

pub(super) fn target() -> TargetName {
    named("https://target.example:443")
}

pub(super) fn named(name: &str) -> TargetName {
    name.parse().expect("a valid name")
}

/// Returns terms of leases that allow more calls at a time than any test makes.
pub(super) fn terms(target: &TargetName, length: Duration) -> LeaseTerms<'_> {
    LeaseTerms {
        target,
        limits: TargetLimits {
            concurrency: some(1_000),
            rate: None,
        },
        length,
        lost_max: 3,
    }
}

pub(super) fn some(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("the number must not be zero")
}

/// A claimed event, and what the store answered when a worker requested a lease of it.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub envelope: Envelope,
    pub number: EventNumber,
    pub attempt: u32,
    pub attempts_before: u32,
    pub leased: Leased,
    /// The key and the version of the event, if its version was compared.
    pub version: Option<VersionedEvent>,
}

impl Call {
    /// Returns the end of this call with the given result. The target has answered the call.
    pub fn end(&self, result: CallResult) -> CallEnd {
        self.answered(result, TargetAnswer::Answered)
    }

    pub fn answered(&self, result: CallResult, answer: TargetAnswer) -> CallEnd {
        let Leased::Granted { epoch, .. } = self.leased else {
            panic!("the event must have a lease: {:?}", self.leased);
        };
        CallEnd {
            event: self.envelope.event,
            number: self.number,
            attempt: self.attempt,
            attempts_before: self.attempts_before,
            epoch,
            took: Duration::from_millis(7),
            result,
            answer,
            target_error: None,
            version: self.version.clone(),
        }
    }
}

/// Claims events and leases them, in a transaction that is not committed yet.
pub(super) async fn lease_in<S: Store>(
    store: &S,
    tx: &mut S::Tx,
    envelopes: &[&Envelope],
    terms: LeaseTerms<'_>,
) -> Result<Vec<Call>, CommitError> {
    let route = one();
    let claimed = store.claim(tx, &route, envelopes).await?;
    let mut calls = Vec::new();
    for (envelope, claimed) in envelopes.iter().zip(claimed) {
        let (attempt, attempts_before) = match claimed {
            Claimed::Fresh => (1, 0),
            Claimed::Granted {
                attempt,
                attempts_before,
            } => (attempt, attempts_before),
            Claimed::Redelivered | Claimed::Duplicate | Claimed::Conflict | Claimed::Orphaned => {
                let doing = "lease an event: the transaction has not claimed the event";
                return Err(Fault::plain(FaultKind::Internal, doing).into());
            }
        };
        calls.push(Call {
            envelope: (*envelope).clone(),
            number: store.number(tx, &route, &envelope.event).expect("claimed"),
            attempt,
            attempts_before,
            leased: Leased::Refused(NoPermit::Busy),
            version: None,
        });
    }
    let wishes: Vec<LeaseWish<'_>> = calls
        .iter()
        .map(|call| LeaseWish {
            envelope: &call.envelope,
            attempt: call.attempt,
            attempts_before: call.attempts_before,
            other_digest: None,
        })
        .collect();
    let leased = store.lease(tx, &route, terms, &wishes).await?;
    assert_eq!(leased.len(), calls.len());
    for (call, leased) in calls.iter_mut().zip(leased) {
        call.leased = leased;
    }
    Ok(calls)
}

/// Does what a worker does before it makes external calls: claims events, leases them, withdraws
/// those that get no lease, settles those that are lost, and commits.
pub(super) async fn try_lease<S: Store>(
    store: &S,
    envelopes: &[&Envelope],
    terms: LeaseTerms<'_>,
) -> Result<Vec<Call>, CommitError> {
    let (route, mut tx) = (one(), store.begin().await?);
    let calls = lease_in(store, &mut tx, envelopes, terms).await?;
    let (mut refused, mut lost) = (Vec::new(), Vec::new());
    for call in &calls {
        match call.leased {
            Leased::Granted { .. } => {}
            Leased::Refused(_) => refused.push(call.envelope.event),
            Leased::Lost { .. } => lost.push(ReceiptOutcome {
                envelope: &call.envelope,
                outcome: Outcome::Dead {
                    reason: DeadReason::Lost,
                    detail: "lost".into(),
                },
                other_digest: None,
            }),
        }
    }
    if !refused.is_empty() {
        store.withdraw(&mut tx, &route, &refused).await?;
    }
    if !lost.is_empty() {
        store.settle(&mut tx, &route, &lost).await?;
    }
    store.commit(tx).await?;
    Ok(calls)
}

pub(super) async fn lease<S: Store>(
    store: &S,
    envelopes: &[&Envelope],
    terms: LeaseTerms<'_>,
) -> Vec<Call> {
    let calls = try_lease(store, envelopes, terms).await;
    calls.expect("committed")
}

/// Leases one event.
pub(super) async fn lease_one<S: Store>(store: &S, envelope: &Envelope, length: Duration) -> Call {
    let calls = lease(store, &[envelope], terms(&target(), length)).await;
    calls
        .into_iter()
        .next()
        .expect("one envelope must give one call")
}

pub(super) fn redo(event: &str, attempt: u32) -> Envelope {
    Envelope {
        redo: Some(Redo { attempt }),
        ..envelope(event)
    }
}

pub(super) async fn shown<S: Ledger>(store: &S, envelope: &Envelope) -> EventDetail {
    let id = envelope.event.to_string();
    let event = store.event(&id).await.expect("read");
    event.expect("the event must exist")
}
