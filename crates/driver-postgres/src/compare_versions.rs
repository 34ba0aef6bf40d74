//! Compares the versions of claimed events with the newest ones of their keys that are done, and
//! raises the keys when events are done.

use std::collections::{BTreeSet, HashMap};

use hookbox_driver::{Fault, VersionChanges, VersionStanding, VersionedEvent, newest_of_each_key};
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
    let known = lock(tx, route, events).await?;
    // This must be a separate statement, because a version may have risen while this transaction
    // waited for the locks.
    let states = if known.is_empty() {
        HashMap::new()
    } else {
        tx.run(|c| newest::states(c, route, &known))
            .await
            .map_err(|error| error.ours("look up the newest versions"))?
    };
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

/// Locks the keys of events. Returns those of which something may be stored.
///
/// Most keys of most routes are new, and nearly all events are done. So a key without a row gets
/// the version of its event at once, and no second write. A handler that is not trusted may commit
/// the transaction before its event is done, and then the version would stay. So its transactions
/// only lock the keys here.
async fn lock(
    tx: &mut Tx,
    route: &RouteName,
    events: &[VersionedEvent],
) -> Result<Vec<KeyDigest>, Fault> {
    let doing = "lock the keys of events";
    let keys: BTreeSet<KeyDigest> = events.iter().map(|event| event.key).collect();
    let mut keys: Vec<KeyDigest> = keys.into_iter().collect();
    if tx.is_guarded() {
        let locked = tx.run(|c| newest::lock(c, route, &keys)).await;
        locked.map_err(|error| error.ours(doing))?;
        return Ok(keys);
    }
    let newest = newest_of_each_key(events).into_iter();
    let newest = newest.map(|event| Ok((tx.number(&event.event)?, event)));
    let newest: Vec<(EventNumber, &VersionedEvent)> = newest.collect::<Result<_, Fault>>()?;
    let new = tx
        .run(|c| newest::lock_and_anticipate(c, route, &newest))
        .await
        .map_err(|error| error.ours(doing))?;
    let new: BTreeSet<KeyDigest> = new.into_iter().collect();
    for (number, event) in newest {
        if new.contains(&event.key) {
            tx.anticipated.insert((route.clone(), event.key), number);
        }
    }
    keys.retain(|key| !new.contains(key));
    Ok(keys)
}

/// Raises the keys of those of these events whose versions were compared. All of them are done.
pub(crate) async fn raise(
    tx: &mut Tx,
    route: &RouteName,
    done: &[(EventId, EventNumber)],
) -> Result<(), QueryError> {
    let mut newest = VersionChanges::of_done(&tx.versions, route, done).raised();
    newest.retain(|(number, event)| {
        let anticipated = tx.anticipated.remove(&(route.clone(), event.key));
        anticipated != Some(*number)
    });
    if newest.is_empty() {
        return Ok(());
    }
    // A statement borrows the whole transaction, so it cannot read the events there.
    let owned = newest.into_iter();
    let owned = owned.map(|(number, event)| (number, event.clone()));
    let owned: Vec<(EventNumber, VersionedEvent)> = owned.collect();
    let newest = owned.iter().map(|(number, event)| (*number, event));
    let newest: Vec<(EventNumber, &VersionedEvent)> = newest.collect();
    tx.run(|c| newest::raise(c, route, &newest)).await
}
