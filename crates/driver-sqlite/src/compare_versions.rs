//! For routes with `newest`: compares the version of each claimed event with the newest version of
//! its key that is done, and stores the version as the newest when the event is done.

use std::collections::BTreeSet;

use hookbox_driver::{Fault, FaultKind, VersionChanges, VersionStanding, VersionedEvent};
use hookbox_event::{EventId, EventNumber, KeyDigest, RouteName};

use crate::diagnose::fault;
use crate::tx::Tx;
use crate::{moment, newest};

/// See [`hookbox_driver::Store::compare_versions`]. The transaction holds the file's write lock, so
/// no other transaction can change a key.
pub(crate) async fn compare_versions(
    tx: &mut Tx,
    route: &RouteName,
    events: &[VersionedEvent],
) -> Result<Vec<VersionStanding>, Fault> {
    let keys: BTreeSet<KeyDigest> = events.iter().map(|event| event.key).collect();
    let keys: Vec<KeyDigest> = keys.into_iter().collect();
    let states = newest::states(tx.connection(), route, &keys, moment::now())
        .await
        .map_err(fault("look up the newest versions of keys"))?;
    let mut standings = Vec::with_capacity(events.len());
    for event in events {
        let number = tx.numbers.get(&event.event).copied();
        let number = number.ok_or_else(unclaimed)?;
        let state = states.get(&event.key).cloned().unwrap_or_default();
        standings.push(state.standing(number, &event.version));
        let key = (route.clone(), event.event);
        tx.versions.insert(key, event.clone());
    }
    Ok(standings)
}

/// Stores the versions of these events as the newest of their keys, if the versions were compared.
/// All of the events are done.
pub(crate) async fn raise(
    tx: &mut Tx,
    route: &RouteName,
    done: &[(EventId, EventNumber)],
    now: i64,
) -> sqlx::Result<()> {
    let changes = VersionChanges::of_done(&tx.versions, route, done);
    newest::raise(tx.unit.connection(), route, &changes.raised(), now).await
}

fn unclaimed() -> Fault {
    let what = "compare the version of an event that this transaction has not claimed";
    Fault::plain(FaultKind::Internal, what)
}
