//! The promises of a store for groups of dead letters. The dead letters of a group have the same
//! route, reason and cause. Every store driver must form the same groups.

use std::collections::BTreeSet;

use hookbox_driver::{
    ClaimState, Claimed, DeadFilter, DeadGroup, DeadGroupId, DeadReason, DeadState, Failure,
    Ledger, Outcome, ReceiptOutcome, Store,
};
use hookbox_event::{Envelope, Redo, Topic};

use super::{DEAD, fail, failure};
use crate::harness::{StoreHarness, one, two};
use crate::{envelope, of_number};

/// The number of dead letters in the test. They have three causes.
const DEAD_LETTERS: usize = 5_014;

/// The number of events in one transaction.
const BATCH: usize = 64;

/// The event types of the dead letters.
const TYPES: [&str; 4] = ["a.complete", "b.complete", "c.expired", "d"];

/// Returns a reason and an error text. The texts of one cause differ only in numbers, ids and
/// quoted values.
fn detail(number: usize) -> (DeadReason, String) {
    let id = of_number(number).event;
    match number % 3 {
        0 => (
            DeadReason::Malformed,
            format!("the body is not JSON (at byte {number})"),
        ),
        1 => (
            DeadReason::Exhausted,
            format!("no account for \"user {number}\" at line {number}: event {id} is early"),
        ),
        _ => (
            DeadReason::SchemaBroken,
            format!("/traits/{number}/score: the value is below {number} (rule /score/minimum)"),
        ),
    }
}

/// Checks that dead letters with one route, one reason and one cause are one group, whatever
/// numbers, ids and values their texts have. Dead letters whose causes are nearly the same are
/// separate groups.
pub async fn dead_letters_are_grouped_by_cause<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for start in (0..DEAD_LETTERS).step_by(BATCH) {
        let numbers = start..(start + BATCH).min(DEAD_LETTERS);
        give_up_all(&*store, numbers).await;
    }
    let all = DeadFilter::default();
    let groups = store.dead_groups(&all).await.expect("read");
    let counts: Vec<u64> = groups.iter().map(|group| group.count).collect();
    assert_eq!(counts, [1_672, 1_671, 1_671], "{groups:?}");
    let wanted: BTreeSet<DeadGroupId> = (0..3)
        .map(|number| {
            let (reason, detail) = detail(number);
            DeadGroupId::of(&one(), reason, &detail)
        })
        .collect();
    let ids: BTreeSet<DeadGroupId> = groups.iter().map(|group| group.id).collect();
    assert_eq!(ids, wanted);
    assert_eq!(groups[0].topics, TYPES.len() as u64);
    let newest = store.dead_show(groups[0].newest).await.expect("read");
    assert_eq!(
        newest.expect("the dead letter must exist").row.detail,
        groups[0].detail
    );

    // Adds twelve dead letters whose causes differ in one word.
    let store = &*store;
    for (number, detail) in apart().into_iter().enumerate() {
        let reason = DeadReason::Rejected;
        let detail = detail.to_owned();
        let outcome = Outcome::Dead { reason, detail };
        settle_all(store, vec![(of_number(DEAD_LETTERS + number), outcome)]).await;
    }
    let groups = store.dead_groups(&all).await.expect("read");
    assert_eq!(groups.len(), 3 + apart().len());
    Store::close(store).await;
}

/// Returns twelve error texts with twelve different causes. Some of them differ from the next in
/// one word only.
fn apart() -> [&'static str; 12] {
    [
        "/uid: the value is not of type \"string\" (rule /properties/uid/type)",
        "/cid: the value is not of type \"string\" (rule /properties/cid/type)",
        "the body: \"uid\" is a required property (rule /required)",
        "the body: \"event\" is a required property (rule /required)",
        "the partner answered with SQLSTATE 23505",
        "the partner answered with SQLSTATE 23503",
        "duplicate key value violates unique constraint \"scores_pkey\"",
        "duplicate key value violates unique constraint \"traits_pkey\"",
        "the handler ran longer than its time limit of 30s",
        "the handler panicked: called `Option::unwrap()` on a `None` value",
        "another body came under the id of event 0101010101010101",
        "the field \"score\" is missing",
    ]
}

async fn give_up_all<S: Store>(store: &S, numbers: std::ops::Range<usize>) {
    let dead_letters = numbers.map(|number| {
        let mut envelope = of_number(number);
        envelope.topic = Topic::of(&envelope.source, Some(TYPES[number / 3 % TYPES.len()]));
        let (reason, detail) = detail(number);
        (envelope, Outcome::Dead { reason, detail })
    });
    settle_all(store, dead_letters.collect()).await;
}

async fn settle_all<S: Store>(store: &S, mut dead_letters: Vec<(Envelope, Outcome)>) {
    dead_letters.sort_by_key(|(envelope, _)| envelope.event);
    let mut tx = store.begin().await.expect("begun");
    let envelopes: Vec<&Envelope> = dead_letters.iter().map(|(envelope, _)| envelope).collect();
    let claimed = store.claim(&mut tx, &one(), &envelopes).await;
    let claimed = claimed.expect("claimed");
    assert!(claimed.iter().all(|claimed| *claimed == Claimed::Fresh));
    let settled: Vec<ReceiptOutcome<'_>> = dead_letters
        .iter()
        .map(|(envelope, outcome)| ReceiptOutcome {
            envelope,
            outcome: outcome.clone(),
            other_digest: None,
        })
        .collect();
    let settling = store.settle(&mut tx, &one(), &settled).await;
    settling.expect("settled");
    store.commit(tx).await.expect("committed");
}

/// Checks that a group can be used as a filter of lists, of counts and of every change. If a
/// replayed event becomes a dead letter with another cause, it is in another group.
pub async fn a_group_is_a_filter<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for event in ["a", "b"] {
        fail(&*store, &envelope(event), 1, DEAD).await;
    }
    let reason = DeadReason::Malformed;
    let detail = "not JSON".to_owned();
    settle_all(
        &*store,
        vec![(envelope("c"), Outcome::Dead { reason, detail })],
    )
    .await;
    let groups = groups(&*store).await;
    let [group, other] = &groups[..] else {
        panic!("expected exactly two groups: {groups:?}")
    };
    assert_eq!((group.count, other.count), (2, 1));
    let of = |group: &DeadGroup| DeadFilter {
        group: Some(group.id),
        ..DeadFilter::default()
    };
    let listed = store.dead_list(&of(group), 0, 10).await.expect("read");
    assert_eq!(listed.len(), 2);
    assert_eq!(store.dead_count(&of(group)).await.expect("read"), 2);
    let discarded = store.dead_discard(&of(other), 10, "ann").await;
    assert_eq!(discarded.expect("changed"), 1);
    let restored = store.dead_restore(&of(other), 10, "ann").await;
    assert_eq!(restored.expect("changed"), 1);
    let replayed = store.dead_replay(&of(group), 10, "ann").await;
    assert_eq!(replayed.expect("changed"), 2);
    let unknown = DeadFilter {
        group: Some(DeadGroupId::of(&two(), reason, "not JSON")),
        ..DeadFilter::default()
    };
    assert_eq!(store.dead_count(&unknown).await.expect("read"), 0);
    // Every dead letter got its group when it was written, so no dead letter is without a group.
    assert_eq!(store.dead_regroup(10).await.expect("grouped"), 0);

    let mut again = envelope("a");
    again.redo = Some(Redo { attempt: 2 });
    let route = one();
    let other = Failure {
        error: "something else".into(),
        ..failure(&route, &again, 2, DEAD)
    };
    store.fail(&other).await.expect("recorded");
    let dead = DeadFilter {
        state: Some(DeadState::Dead),
        ..of(group)
    };
    assert_eq!(store.dead_count(&dead).await.expect("read"), 0);
    assert_eq!(groups_of(&*store, DeadState::Dead).await.len(), 2);
    let claims = store
        .dead_claims(&[listed[0].id, listed[1].id, 9_999])
        .await;
    let claims: Vec<_> = claims
        .expect("read")
        .iter()
        .map(|it| (it.id, it.state))
        .collect();
    let states = [ClaimState::Dead, ClaimState::Retrying];
    assert_eq!(
        claims,
        [(listed[0].id, states[0]), (listed[1].id, states[1])]
    );
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

/// Checks an event that is replayed and becomes a dead letter again. It keeps the reasons of its
/// earlier dead letters, and the name of the operator who replayed it.
pub async fn a_dead_letter_keeps_its_earlier_deaths<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    fail(&*store, &envelope("a"), 1, DEAD).await;
    let all = DeadFilter::default();
    let id = store.dead_list(&all, 0, 1).await.expect("read")[0].id;
    let show = async || {
        let shown = store.dead_show(id).await.expect("read");
        shown.expect("the dead letter must exist")
    };
    assert_eq!(show().await.earlier, []);
    let route = one();
    for (attempt, by) in [(2, "ann"), (3, "bob")] {
        let before = show().await;
        assert_eq!(store.dead_replay(&all, 10, by).await.expect("replayed"), 1);
        let mut again = envelope("a");
        again.redo = Some(Redo { attempt });
        let other = Failure {
            error: format!("error {attempt}"),
            ..failure(&route, &again, attempt, DEAD)
        };
        store.fail(&other).await.expect("recorded");
        let after = show().await;
        assert_eq!(after.row.detail, format!("error {attempt}"));
        let last = after.earlier.last().expect("kept");
        assert_eq!(
            (&last.detail, last.died_at),
            (&before.row.detail, before.row.died_at)
        );
        assert_eq!(
            (last.reason, last.attempts),
            (before.row.reason, attempt - 1)
        );
        assert_eq!(last.replayed_by, by);
        assert!(last.replayed_at >= last.died_at && after.row.died_at >= last.replayed_at);
    }
    let earlier = show().await.earlier;
    assert_eq!(earlier.len(), 2);
    assert_eq!(earlier[0].detail, "it did not work");
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

async fn groups(store: &impl Ledger) -> Vec<DeadGroup> {
    let all = DeadFilter::default();
    store.dead_groups(&all).await.expect("read")
}

async fn groups_of(store: &impl Ledger, state: DeadState) -> Vec<DeadGroup> {
    let filter = DeadFilter {
        state: Some(state),
        ..DeadFilter::default()
    };
    store.dead_groups(&filter).await.expect("read")
}
