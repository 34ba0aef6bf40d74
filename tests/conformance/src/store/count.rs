//! The promises of a store for counts. Several commands show how many dead letters wait for a
//! decision; all of them must show the same number.

use hookbox_driver::{DeadFilter, DeadReason, DeadState, Ledger, Outcome, Recorded, Store, Then};
use hookbox_event::{Digester, EventId, ReceiptId};

use super::{DEAD, LATER, claim, done, fail, finish};
use crate::harness::StoreHarness;
use crate::{another_body, envelope, of_number, with_receipt};

/// The number of random histories of dead letters that are tested.
const HISTORIES: u64 = 4;
/// The number of changes in each history.
const STEPS: usize = 24;

/// Returns the next step of a random history, as a number below eight. The generator
/// (`xorshift64`) has a fixed seed, so every run has the same steps.
fn step(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    usize::try_from(*seed % 8).expect("small")
}

/// Checks that there is one count of the dead letters that wait for a decision. Each step of a
/// random history makes a failure, a conflict, a discard or a restore. After each step, all ways to
/// count must find the same number. A conflict counts, because it is stored as a dead letter.
pub async fn dead_letters_have_one_count<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (mut number, mut conflicts) = (0, 0);
    for history in 1..=HISTORIES {
        let mut seed = history.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for _ in 0..STEPS {
            number += 1;
            match step(&mut seed) {
                0 => done(&*store, &of_number(number)).await,
                1 => drop(fail(&*store, &of_number(number), 1, LATER).await),
                2 | 3 => {
                    let failed = fail(&*store, &of_number(number), 1, DEAD).await;
                    assert_eq!(failed, Recorded::Recorded);
                }
                4 => {
                    let reason = DeadReason::Rejected;
                    fail(&*store, &of_number(number), 1, Then::Dead { reason }).await;
                }
                5 => {
                    conflicts += 1;
                    conflict(&*store, number).await;
                }
                6 => change(&*store, Change::Discard).await,
                _ => change(&*store, Change::Restore).await,
            }
            all_agree(&*store).await;
        }
    }
    assert!(
        conflicts > 0,
        "expected a conflict in at least one of the histories"
    );
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Processes an event, and then records another body under the same event id as a conflict.
async fn conflict<S: Store>(store: &S, number: usize) {
    done(store, &of_number(number)).await;
    let mut other = another_body(&format!("number-{number}"), 2);
    other.event = EventId::of_conflict(&Digester::Plain, &other.event, &other.digest);
    let mut tx = store.begin().await.expect("begun");
    claim(store, &mut tx, &other).await;
    let detail = "another body".to_owned();
    finish(store, tx, &other, Outcome::Conflict { detail }).await;
}

enum Change {
    Discard,
    Restore,
}

/// Discards two of the oldest dead letters, or restores one discarded dead letter.
async fn change(store: &impl Ledger, change: Change) {
    let all = DeadFilter::default();
    let changed = match change {
        Change::Discard => store.dead_discard(&all, 2, "ann").await,
        Change::Restore => store.dead_restore(&all, 1, "ann").await,
    };
    changed.expect("changed");
}

async fn all_agree(store: &impl Ledger) {
    let waiting = DeadFilter {
        state: Some(DeadState::Dead),
        ..DeadFilter::default()
    };
    let counted = store.dead_count(&waiting).await.expect("read");
    let listed = store.dead_list(&waiting, 0, 1_000).await.expect("read");
    let groups = store.dead_groups(&waiting).await.expect("read");
    let backlog = store.backlog().await.expect("read");
    let numbers = [
        listed.len() as u64,
        groups.iter().map(|group| group.count).sum(),
        backlog.iter().map(|route| route.dead).sum(),
    ];
    assert_eq!(
        numbers, [counted; 3],
        "the list, the groups and the backlog must count the same number of dead letters"
    );
}

/// Checks that the id of a receipt finds its event on any route. The receipt id is often all that
/// an operator knows of a request.
pub async fn a_receipt_leads_to_its_event<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let event_of = async |receipt| store.event_of(&receipt).await.expect("read");
    let nothing = ReceiptId::from_bytes([9; 16]);
    assert_eq!(event_of(nothing).await, None);
    done(&*store, &envelope("a")).await;
    fail(&*store, &envelope("b"), 1, DEAD).await;
    for event in ["a", "b"] {
        let envelope = envelope(event);
        assert_eq!(event_of(envelope.receipt).await, Some(envelope.event));
    }
    assert_eq!(event_of(with_receipt("a", 2).receipt).await, None);
    assert_eq!(event_of(nothing).await, None);
    Store::close(&*store).await;
}
