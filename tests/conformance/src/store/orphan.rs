//! The promises of a store about a handler that has committed its transaction by itself, also when
//! its process dies right after, and about two workers that have the same event at once.

use hookbox_driver::{
    Claimed, CommitError, DeadFilter, DeadReason, FaultKind, Ledger, Outcome, Recorded, Store, Then,
};
use hookbox_event::{Envelope, Redo};

use super::race::work;
use super::{NOW, claim, done, fail, failure, finish, probe};
use crate::harness::{StoreHarness, one};
use crate::{another_body, envelope, with_receipt};

/// How often two workers claim the same event at once. Chance decides which of them comes first, so
/// the race is repeated.
const RACES: u32 = 8;

/// Records that the event is orphaned, and checks that it has this number of attempts and is never
/// run again.
async fn end<S: Store + Ledger>(store: &S, orphan: &Envelope, attempt: u32) {
    let route = one();
    let then = Then::Dead {
        reason: DeadReason::Orphaned,
    };
    let failure = failure(&route, orphan, attempt, then);
    let recorded = store.fail(&failure).await.expect("kept");
    assert_eq!(recorded, Recorded::Recorded);
    let again = store.fail(&failure).await.expect("kept");
    assert_eq!(again, Recorded::Superseded);
    let event = store.event(&orphan.event.to_string()).await.expect("read");
    let claims = event.expect("the event must exist").claims;
    assert_eq!(claims[0].attempts, attempt);
    assert_eq!(probe(store, orphan).await, Claimed::Redelivered);
}

/// Checks a handler that commits the transaction of a batch, in a process that dies before it can
/// detect this. All events of the batch must be orphaned.
pub async fn an_orphan_outlives_its_process<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    for is_trusted in [true, false] {
        let events = ["first", "second"].map(|name| format!("{name}-{is_trusted}"));
        let begun = if is_trusted {
            store.begin().await
        } else {
            store.begin_for_handler().await
        };
        let mut tx = begun.expect("begun");
        for event in &events {
            let claimed = claim(&*store, &mut tx, &envelope(event)).await;
            assert_eq!(claimed, Claimed::Fresh);
        }
        H::effect(store.connection(&mut tx), &events[0]).await;
        H::commit_raw(store.connection(&mut tx)).await;
        drop(tx);
        for event in &events {
            for of in [envelope(event), with_receipt(event, 2)] {
                let claimed = probe(&*elsewhere, &of).await;
                assert_eq!(claimed, Claimed::Orphaned, "{event}");
            }
            let other = probe(&*elsewhere, &another_body(event, 3)).await;
            assert_eq!(other, Claimed::Conflict, "{event}");
            // The event must become a dead letter. So the failure of a receipt with another body
            // must not be recorded: a retry would follow from it, and would run the orphaned event
            // again.
            let kept = fail(&*elsewhere, &another_body(event, 3), 1, NOW).await;
            assert_eq!(kept, Recorded::Superseded, "{event}");
            end(&*elsewhere, &with_receipt(event, 2), 1).await;
        }
        assert_eq!(world.effects(&events[0]).await, 1);
    }
    let dead = store.dead_list(&DeadFilter::default(), 0, 9).await;
    let dead = dead.expect("read");
    assert_eq!(dead.len(), 4);
    assert!(dead.iter().all(|it| it.reason == DeadReason::Orphaned));
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}

/// Checks a handler that commits the transaction of a retry, in a process that dies before it can
/// detect this. The retry must never run again.
pub async fn an_orphaned_retry_is_never_run_again<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    fail(&*store, &envelope("a"), 1, NOW).await;
    let retry = Envelope {
        redo: Some(Redo { attempt: 2 }),
        ..envelope("a")
    };
    let mut tx = store.begin().await.expect("begun");
    let granted = Claimed::Granted {
        attempt: 2,
        attempts_before: 0,
    };
    assert_eq!(claim(&*store, &mut tx, &retry).await, granted);
    H::effect(store.connection(&mut tx), "a").await;
    H::commit_raw(store.connection(&mut tx)).await;
    drop(tx);
    assert_eq!(probe(&*store, &retry).await, Claimed::Orphaned);
    let other = probe(&*store, &with_receipt("a", 2)).await;
    assert_eq!(other, Claimed::Orphaned);
    end(&*store, &retry, 2).await;
    assert_eq!(world.effects("a").await, 1);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Two transactions claim the same event at the same time. These are the ways in which the first of
/// them ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    RollBack,
    /// The handler commits by itself.
    ByHandler,
}

/// Checks two workers that claim the same event at once. The claim of the second one waits. Its
/// result depends on how the transaction of the first one ends.
pub async fn a_waiting_claim_sees_how_the_other_ended<H: StoreHarness>(world: &H) {
    let (store, elsewhere) = (world.open().await, world.open().await);
    for (end, expect) in [
        (End::Commit, Claimed::Duplicate),
        (End::RollBack, Claimed::Fresh),
        (End::ByHandler, Claimed::Orphaned),
    ] {
        for round in 0..RACES {
            let name = format!("{end:?}-{round}");
            let (mine, theirs) = (with_receipt(&name, 1), with_receipt(&name, 2));
            let mut tx = store.begin_for_handler().await.expect("begun");
            assert_eq!(claim(&*store, &mut tx, &mine).await, Claimed::Fresh);
            H::effect(store.connection(&mut tx), &name).await;
            let ending = async {
                tokio::task::yield_now().await;
                match end {
                    End::Commit => {
                        finish(&*store, tx, &mine, Outcome::Done { attempt: 1 }).await;
                    }
                    End::RollBack => store.rollback(tx).await,
                    End::ByHandler => {
                        H::commit_raw(store.connection(&mut tx)).await;
                        let proof = store.prove(&mut tx).await;
                        let is_found = matches!(proof, Err(CommitError::EndedByHandler { .. }));
                        assert!(is_found, "{name}: {proof:?}");
                        store.rollback(tx).await;
                    }
                }
            };
            let waiting = async {
                loop {
                    match work::<H>(&elsewhere, &theirs, &name).await {
                        Err(CommitError::Fault(fault)) if fault.kind() == FaultKind::Contention => {
                        }
                        answer => break answer.expect("worked"),
                    }
                }
            };
            let (claimed, ()) = tokio::join!(waiting, ending);
            assert_eq!(claimed, expect, "{name}");
            assert_eq!(world.effects(&name).await, 1, "{name}");
        }
    }
    // Each later receipt of an event that is done is a duplicate, however late it comes.
    done(&*store, &envelope("later")).await;
    let later = probe(&*elsewhere, &with_receipt("later", 2)).await;
    assert_eq!(later, Claimed::Duplicate);
    Store::close(&*elsewhere).await;
    Store::close(&*store).await;
}
