//! For routes with `newest`: compares the version of each claimed event with the newest version of
//! its key that is done, and stores the version as the newest when the event is done.

use std::collections::{BTreeSet, HashMap};

use hookbox_driver::{Fault, VersionChanges, VersionStanding, VersionedEvent, newest_of_each_key};
use hookbox_event::{EventId, EventNumber, KeyDigest, RouteName};

use crate::newest;
use crate::server::query_error::QueryError;
use crate::tx::Tx;

/// See [`hookbox_driver::Store::compare_versions`]. To prevent deadlocks, all transactions lock
/// rows in the same order: claims, then keys.
pub(crate) async fn compare_versions(
    tx: &mut Tx,
    route: &RouteName,
    events: &[VersionedEvent],
) -> Result<Vec<VersionStanding>, Fault> {
    let known = lock(tx, route, events).await?;
    // This must be a separate statement, because a newer version may have been stored while this
    // transaction waited for the locks.
    let states = if known.is_empty() {
        HashMap::new()
    } else {
        tx.run(|c| newest::states(c, route, &known))
            .await
            .map_err(|error| error.ours("look up the newest versions of keys"))?
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

/// Locks the keys of events. Returns the keys that may have had a row before, because the stored
/// states of these keys must be read.
///
/// On most routes, most keys are new, and nearly all events are done. So a key without a row gets
/// the version of its event at once, and needs no second write. A handler that is not hookbox's own
/// may commit the transaction before the event is done, and then the version would stay although
/// the event is not done. So the transaction of such a handler only locks the keys here.
async fn lock(
    tx: &mut Tx,
    route: &RouteName,
    events: &[VersionedEvent],
) -> Result<Vec<KeyDigest>, Fault> {
    let doing = "lock the keys of events for a comparison of versions";
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

/// Stores the versions of these events as the newest of their keys, if the versions were compared.
/// All of the events are done.
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
    // A statement borrows the whole of `tx`, so the events that are kept in `tx` are cloned first.
    let owned = newest.into_iter();
    let owned = owned.map(|(number, event)| (number, event.clone()));
    let owned: Vec<(EventNumber, VersionedEvent)> = owned.collect();
    let newest = owned.iter().map(|(number, event)| (*number, event));
    let newest: Vec<(EventNumber, &VersionedEvent)> = newest.collect();
    tx.run(|c| newest::raise(c, route, &newest)).await
}
