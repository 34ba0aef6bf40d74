//! Compares the versions of claimed events with the newest ones of their keys that are done, and
//! raises the keys when events are done.

use std::collections::BTreeSet;

use hookbox_driver::{Fault, VersionStanding, VersionedEvent, newest_of_each_key};
use hookbox_event::{EventId, EventNumber, KeyDigest, RouteName};

use crate::newest;
use crate::server::query_error::QueryError;
use crate::tx::Tx;

/// See [`hookbox_driver::Store::compare_versions`]. The rows are locked in an order that all
/// transactions have in common: claims, then keys.
pub(crate) async fn compare_versions(
    tx: &mut Tx,
    route: &RouteName,
    events: &[VersionedEvent],
) -> Result<Vec<VersionStanding>, Fault> {
    let keys: BTreeSet<KeyDigest> = events.iter().map(|event| event.key).collect();
    let keys: Vec<KeyDigest> = keys.into_iter().collect();
    tx.run(|c| newest::lock(c, route, &keys))
        .await
        .map_err(|error| error.ours("lock the keys of events"))?;
    // This must be a separate statement, because a version may have risen while this transaction
    // waited for the locks.
    let states = tx
        .run(|c| newest::states(c, route, &keys))
        .await
        .map_err(|error| error.ours("look up the newest versions"))?;
    let mut standings = Vec::with_capacity(events.len());
    for event in events {
        let number = tx.number(&event.event)?;
        let state = states.get(&event.key).cloned().unwrap_or_default();
        standings.push(state.standing(number, &event.version));
        let key = (route.clone(), event.event);
        tx.versions.insert(key, event.clone());
    }
    Ok(standings)
}

/// Raises the keys of those of these events whose versions were compared. All of them are done.
pub(crate) async fn raise(
    tx: &mut Tx,
    route: &RouteName,
    done: &[(EventId, EventNumber)],
) -> Result<(), QueryError> {
    if tx.versions.is_empty() {
        return Ok(());
    }
    let compared = done.iter().filter_map(|(event, _)| {
        let key = (route.clone(), *event);
        tx.versions.get(&key).cloned()
    });
    let compared: Vec<VersionedEvent> = compared.collect();
    let newest: Vec<(EventNumber, &VersionedEvent)> = newest_of_each_key(&compared)
        .into_iter()
        .filter_map(|event| {
            let number = done.iter().find(|(id, _)| *id == event.event);
            number.map(|(_, number)| (*number, event))
        })
        .collect();
    if newest.is_empty() {
        return Ok(());
    }
    tx.run(|c| newest::raise(c, route, &newest)).await
}
