//! The promises of a store for the external calls of events that an operator has replayed.

use hookbox_driver::{CallRecorded, CallResult, DeadFilter, Leased, Ledger, Store};
use hookbox_event::Envelope;

use super::call::{end, failed};
use super::external::{ENDED, LONG, lease_one, redo};
use super::race::requeued;
use super::replay::{filter, replay};
use super::{DEAD, fail};
use crate::envelope;
use crate::harness::{StoreHarness, one};

/// Checks that a lease has a higher epoch than the leases of earlier rounds of its event. The
/// receiver of the calls rejects a call with an older epoch.
pub async fn an_epoch_rises_over_replays<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    lease_one(&*store, &envelope("a"), ENDED).await;
    fail(&*store, &redo("a", 1), 1, DEAD).await;
    let replayed = store.dead_replay(&DeadFilter::default(), 10, "ada").await;
    assert_eq!(replayed.expect("replayed"), 1);
    assert_eq!(requeued(&*store).await, [redo("a", 2)]);
    let call = lease_one(&*store, &redo("a", 2), LONG).await;
    assert_eq!((call.attempt, call.attempts_before), (2, 1));
    assert_eq!(
        call.leased,
        Leased::Granted {
            epoch: 2,
            effect: 1
        }
    );
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// The effect number is a part of the idempotency key. Checks that the replay of a dead letter
/// keeps the effect number, because an earlier call for the event may have had its effect. The
/// replay of a done event gets a new effect number, because the effect must happen again.
pub async fn only_the_replay_of_a_done_event_has_another_effect<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let mut epochs = 1..;
    let mut next = async |event: Envelope, effect: u32, result: CallResult| {
        let call = lease_one(&*store, &event, LONG).await;
        let epoch = epochs.next().expect("endless");
        assert_eq!(call.leased, Leased::Granted { epoch, effect });
        let recorded = end(&*store, call.end(result)).await;
        assert_ne!(recorded, CallRecorded::Superseded);
    };
    let revive = async || {
        let replayed = store.dead_replay(&DeadFilter::default(), 10, "ada").await;
        assert_eq!(replayed.expect("replayed"), 1);
    };
    let again = async || {
        let page = replay(&*store, &filter(one())).await;
        assert_eq!(page.counts.again, 1);
    };
    next(envelope("a"), 1, failed(DEAD)).await;
    revive().await;
    next(redo("a", 2), 1, failed(DEAD)).await;
    revive().await;
    next(redo("a", 3), 1, CallResult::Done).await;
    again().await;
    next(redo("a", 4), 4, failed(DEAD)).await;
    revive().await;
    next(redo("a", 5), 4, CallResult::Done).await;
    again().await;
    next(redo("a", 6), 6, CallResult::Done).await;
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}
