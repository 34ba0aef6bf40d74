//! The promises of a store for text that a handler, a sender or an operator wrote.

use std::time::Duration;

use hookbox_driver::{
    AuditFilter, DeadFilter, DeadReason, Failure, FailureClass, Ledger, Outcome, Recorded, Refusal,
    RefusalFilter, STORABLE_MAX, Store, storable,
};

use super::{DEAD, claim, finish};
use crate::harness::{StoreHarness, one};
use crate::{envelope, of_number};

/// Checks that an outcome is stored whatever its text is. Text that cannot be stored is escaped.
/// Text that is too long is cut, and gets a note of its original length. Every other text is read
/// back unchanged.
pub async fn text_from_outside_is_made_storable<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let texts = [
        "5 €, Zürich, 東京, 🦀".to_owned(),
        "a\0b\r\n\u{1b}[31mc".to_owned(),
        format!("{}\0", "€".repeat(STORABLE_MAX)),
    ];
    for (number, text) in (0..).zip(&texts) {
        let mut event = of_number(number);
        event.key_id.clone_from(text);
        event.traceparent = Some(text.clone());
        failed(&*store, &event, text).await;
        let mut event = envelope(&format!("dead-{number}"));
        event.key_id.clone_from(text);
        event.traceparent = Some(text.clone());
        given_up(&*store, &event, text).await;
    }
    let refusals = texts.clone().map(refusal);
    store.keep_refusals(&refusals).await.expect("kept");
    for kept in store
        .refusals(&RefusalFilter::default(), None, 9)
        .await
        .expect("read")
    {
        let of = |text: &String| kept.reason == storable(text) && kept.peer == storable(text);
        assert!(texts.iter().any(of), "{kept:?}");
    }
    let all = DeadFilter::default();
    let replayed = store.dead_replay(&all, 9, &texts[1]).await;
    assert_eq!(replayed.expect("replayed"), 6);
    let audit = store
        .audits(&AuditFilter::default(), None, 9)
        .await
        .expect("read");
    let actor = storable(&texts[1]);
    assert!(audit.iter().all(|row| row.actor == actor), "{audit:?}");
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}

async fn failed<S: Store + Ledger>(store: &S, event: &hookbox_event::Envelope, text: &str) {
    let route = one();
    let failure = Failure {
        route: &route,
        envelope: event,
        attempt: 1,
        attempts_before: 0,
        other_digest: None,
        class: FailureClass::Permanent,
        error: text.to_owned(),
        took: Duration::ZERO,
        then: DEAD,
        is_expired_deferral: false,
    };
    let recorded = store.fail(&failure).await.expect("recorded");
    assert_eq!(recorded, Recorded::Recorded);
    let id = event.event.to_string();
    let kept = store
        .event(&id)
        .await
        .expect("read")
        .expect("the event must exist");
    assert_eq!(kept.attempts[0].error.as_deref(), Some(&*storable(text)));
    assert_eq!(kept.receipts[0].key_id, storable(text));
}

async fn given_up<S: Store + Ledger>(store: &S, event: &hookbox_event::Envelope, text: &str) {
    let mut tx = store.begin().await.expect("begun");
    claim(store, &mut tx, event).await;
    let outcome = Outcome::Dead {
        reason: DeadReason::SchemaBroken,
        detail: text.to_owned(),
    };
    finish(store, tx, event, outcome).await;
    let filter = DeadFilter {
        reason: Some(DeadReason::SchemaBroken),
        ..DeadFilter::default()
    };
    let dead = store.dead_list(&filter, 0, 9).await.expect("read");
    let dead = dead.iter().find(|row| row.event == event.event);
    let dead_letter = store.dead_show(dead.expect("listed").id).await;
    let dead_letter = dead_letter
        .expect("read")
        .expect("the dead letter must exist");
    assert_eq!(dead_letter.row.detail, storable(text));
    assert_eq!(dead_letter.history.receipts[0].key_id, storable(text));
}

fn refusal(text: String) -> Refusal {
    let of = envelope(&text);
    Refusal {
        request: of.receipt,
        source: text.clone(),
        reason: text.clone(),
        body_digest: None,
        body_bytes: 0,
        peer: text,
        at: of.received_at,
    }
}
