//! The promise of a store for the replay of events on a route with conditions on the body.

use bytes::Bytes;
use hookbox_driver::{Ledger, ReplayCounts, ReplayFilter, Store};
use hookbox_event::{Condition, Envelope, Literal, Test};

use super::done;
use super::replay::{filter, replay};
use crate::envelope;
use crate::harness::{StoreHarness, one, two};

/// Checks that the conditions of a route select which events are replayed among those that the
/// route never had. Events that are done on the route are replayed even if they do not satisfy the
/// conditions.
pub async fn a_route_is_fed_what_its_conditions_select<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for (event, body) in [
        ("gold", r#"{"level":"gold"}"#),
        ("silver", r#"{"level":"silver"}"#),
        ("neither", "no JSON"),
    ] {
        let event = Envelope {
            body: Bytes::from_static(body.as_bytes()),
            ..envelope(event)
        };
        done(&*store, &event).await;
    }
    let gold = Condition {
        pointer: "/level".parse().expect("a valid JSON pointer"),
        test: Test::OneOf(vec![Literal::String("gold".to_owned())]),
    };
    let never = ReplayFilter {
        conditions: vec![gold.clone()],
        ..filter(two())
    };
    let counts = ReplayCounts {
        first: 1,
        excluded: 2,
        ..ReplayCounts::default()
    };
    assert_eq!(replay(&*store, &never).await.counts, counts);
    let had = ReplayFilter {
        conditions: vec![gold],
        ..filter(one())
    };
    let counts = ReplayCounts {
        again: 3,
        ..ReplayCounts::default()
    };
    assert_eq!(replay(&*store, &had).await.counts, counts);
    assert_eq!(store.imbalances(10).await.expect("read"), []);
    Store::close(&*store).await;
}
