//! The promises that the `Store` trait makes, and what their test cases share.

mod account;
mod breaker;
mod call;
mod call_deferrals;
mod call_replays;
mod claim;
mod commit;
mod count;
mod defer;
mod end;
mod external;
mod fail;
mod fault;
mod group;
mod id_decides;
mod identity;
mod lease;
mod list;
mod newest;
mod newest_at_once;
mod newest_calls;
mod number;
mod orphan;
mod proof;
mod race;
mod replay;
mod replay_conditions;
mod retry;
mod route_control;
mod savepoint;
mod starts;
mod text;
mod wait;
mod witness;

pub use account::*;
pub use breaker::*;
pub use call::*;
pub use call_deferrals::*;
pub use call_replays::*;
pub use claim::*;
pub use commit::*;
pub use count::*;
pub use defer::*;
pub use end::*;
pub use fail::*;
pub use fault::*;
pub use group::*;
pub use id_decides::*;
pub use identity::*;
pub use lease::*;
pub use list::*;
pub use newest::*;
pub use newest_at_once::*;
pub use newest_calls::*;
pub use number::*;
pub use orphan::*;
pub use proof::*;
pub use race::*;
pub use replay::*;
pub use replay_conditions::*;
pub use retry::*;
pub use route_control::*;
pub use savepoint::*;
pub use starts::*;
pub use text::*;
pub use wait::*;
pub use witness::*;

use std::time::Duration;

use hookbox_driver::{
    Claimed, DeadReason, Failure, FailureClass, Outcome, ReceiptOutcome, Recorded, Store, Then,
};
use hookbox_event::{Envelope, RouteName};

use crate::harness::one;

/// Claims one envelope in a transaction.
pub(crate) async fn claim<S: Store>(store: &S, tx: &mut S::Tx, envelope: &Envelope) -> Claimed {
    let claimed = store.claim(tx, &one(), &[envelope]).await.expect("claimed");
    assert_eq!(claimed.len(), 1);
    claimed[0]
}

/// Claims one envelope, rolls back, and returns the result of the claim.
pub(crate) async fn probe<S: Store>(store: &S, envelope: &Envelope) -> Claimed {
    let mut tx = store.begin().await.expect("begun");
    let claimed = claim(store, &mut tx, envelope).await;
    store.rollback(tx).await;
    claimed
}

/// Settles one claimed envelope and commits.
pub(crate) async fn finish<S: Store>(
    store: &S,
    mut tx: S::Tx,
    envelope: &Envelope,
    outcome: Outcome,
) {
    let settled = [ReceiptOutcome {
        envelope,
        outcome,
        other_digest: None,
    }];
    store
        .settle(&mut tx, &one(), &settled)
        .await
        .expect("settled");
    store.commit(tx).await.expect("committed");
}

/// Claims an event, and commits it as done.
pub(crate) async fn done<S: Store>(store: &S, envelope: &Envelope) {
    let mut tx = store.begin().await.expect("begun");
    let attempt = match claim(store, &mut tx, envelope).await {
        Claimed::Fresh => 1,
        Claimed::Granted { attempt, .. } => attempt,
        other => panic!("expected a claim that lets the handler run, got: {other:?}"),
    };
    finish(store, tx, envelope, Outcome::Done { attempt }).await;
}

/// Records that an attempt failed. `then` says whether a retry or a dead letter follows.
pub(crate) async fn fail<S: Store>(
    store: &S,
    envelope: &Envelope,
    attempt: u32,
    then: Then,
) -> Recorded {
    let route = one();
    let recorded = store.fail(&failure(&route, envelope, attempt, then)).await;
    recorded.expect("recorded")
}

/// Records an attempt that counts as failed only because its deferral has expired.
pub(crate) async fn fail_expired<S: Store>(
    store: &S,
    envelope: &Envelope,
    attempt: u32,
    then: Then,
) -> Recorded {
    let route = one();
    let failure = Failure {
        is_expired_deferral: true,
        ..failure(&route, envelope, attempt, then)
    };
    store.fail(&failure).await.expect("recorded")
}

/// Returns the record of a failed attempt on an event. `then` says what follows: a retry, or a dead
/// letter.
pub fn failure<'a>(
    route: &'a RouteName,
    envelope: &'a Envelope,
    attempt: u32,
    then: Then,
) -> Failure<'a> {
    Failure {
        route,
        envelope,
        attempt,
        attempts_before: 0,
        other_digest: None,
        class: FailureClass::Transient,
        error: "it did not work".into(),
        took: Duration::from_millis(3),
        then,
        is_expired_deferral: false,
    }
}

/// What follows a failure: a retry that is due at once.
pub const NOW: Then = Then::Retry {
    after: Duration::ZERO,
};
pub(crate) const LATER: Then = Then::Retry {
    after: Duration::from_secs(3600),
};
pub(crate) const DEAD: Then = Then::Dead {
    reason: DeadReason::Exhausted,
};
