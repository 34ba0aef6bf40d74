//! Routes that apply only the newest event of each key: how the simulated store compares versions,
//! and how the result of a run is checked.

use std::collections::{BTreeMap, BTreeSet};

use hookbox_driver::{ClaimState, Fault as OurFault, KeyState, VersionStanding, VersionedEvent};
use hookbox_event::{KeyDigest, Newest, RouteName, VersionKind};

use crate::body::EventBody;
use crate::on_route::OnRoute;
use crate::scenario::Scenario;
use crate::tables::{Key, Tables};
use crate::tx::SimTx;

/// Returns the rule that says where a body has its key and its version.
pub(crate) fn rule() -> Newest {
    Newest {
        key: vec!["/account".parse().expect("a valid JSON pointer")],
        version: "/version".parse().expect("a valid JSON pointer"),
        kind: VersionKind::Integer,
    }
}

/// Compares the versions of claimed events, as the drivers do.
pub(crate) async fn compare(
    tx: &mut SimTx,
    route: &RouteName,
    events: &[VersionedEvent],
) -> Result<Vec<VersionStanding>, OurFault> {
    tx.statement("lock the keys of events").await?;
    let keys: BTreeSet<KeyDigest> = events.iter().map(|event| event.key).collect();
    for key in keys {
        tx.lock(Key::Newest(route.clone(), key), |_| true).await?;
    }
    tx.statement("compare the versions of events").await?;
    let mut standings = Vec::with_capacity(events.len());
    for event in events {
        let now = tx.process.world.elapsed();
        let mut state = tx.process.world.state();
        let tables = &mut state.tables;
        let (version, calling) = tables.newest.of(route, event.key, now);
        let key = KeyState {
            version,
            calling: calling.map(|event| tables.number(event)),
        };
        let number = tables.number(event.event);
        standings.push(key.standing(number, &event.version));
    }
    tx.versions.extend(events.iter().cloned());
    Ok(standings)
}

/// I21: checks two rules. After the effect of a newer event, no effect of an older event of the
/// same key may follow, in the order of the commits. An event may be stale only if a newer event of
/// its key is done. Effects of handlers that commit by themselves do not count, because hookbox
/// cannot prevent them. Effects of external calls are checked elsewhere: `Calls::begin` checks that
/// each key has one call in flight at a time.
pub(crate) fn check(tables: &Tables, scenario: &Scenario) -> Vec<String> {
    let body_of = |on: &OnRoute| {
        let kept = tables.events.get(&on.1)?;
        serde_json::from_slice::<EventBody>(&kept.body).ok()
    };
    let mut found = Vec::new();
    let mut newest: BTreeMap<(RouteName, String), u64> = BTreeMap::new();
    let mut done: BTreeMap<(RouteName, String), u64> = BTreeMap::new();
    for effect in &tables.effects {
        let on = (effect.route.clone(), effect.event);
        if !scenario.applies_newest(&on.0) || tables.orphans.contains(&on) {
            continue;
        }
        let Some(body) = body_of(&on) else { continue };
        let before = newest.entry((on.0.clone(), body.account)).or_default();
        if body.version < *before {
            let versions = (body.version, *before);
            found.push(format!(
                "I21: {on:?} has an effect of version {} after one of version {}",
                versions.0, versions.1
            ));
        }
        *before = body.version.max(*before);
    }
    for (on, claim) in &tables.claims {
        let body = body_of(on).filter(|_| claim.state == ClaimState::Done);
        if let Some(body) = body {
            let newest = done.entry((on.0.clone(), body.account)).or_default();
            *newest = body.version.max(*newest);
        }
    }
    for (on, claim) in &tables.claims {
        if claim.state != ClaimState::Stale {
            continue;
        }
        let is_older = body_of(on).is_some_and(|body| {
            let key = (on.0.clone(), body.account);
            done.get(&key).is_some_and(|newest| body.version < *newest)
        });
        if !is_older {
            found.push(format!(
                "I21: {on:?} is stale, and no newer event of its key is done"
            ));
        }
    }
    found
}
