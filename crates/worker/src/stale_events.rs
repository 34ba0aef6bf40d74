//! Decides which of the claimed events are handled, on a route that applies only the newest event
//! of each key.

use std::collections::HashMap;

use hookbox_driver::{
    Fault, FaultKind, Outcome, Store, VersionStanding, VersionedEvent, newest_of_each_key,
};
use hookbox_event::{EventId, KeyDigest, Version};

use crate::claimed_event::ClaimedEvent;
use crate::left::LeftEvents;
use crate::route_context::RouteContext;
use crate::verdict::Verdict;

/// The events that are stale only because a newer one of their key is handled in the same
/// transaction.
#[derive(Default)]
pub(crate) struct Superseded {
    events: Vec<SupersededEvent>,
}

struct SupersededEvent {
    event: EventId,
    /// The newest events of the transaction that have the same key as `event`.
    by: Vec<EventId>,
}

/// Makes events stale if they are older than a done event of their key, or older than another event
/// of their key in the same transaction. Returns those for which only an event of this transaction
/// is newer.
pub(crate) async fn end_stale<S: Store>(
    context: &RouteContext<'_, S>,
    tx: &mut S::Tx,
    verdicts: &mut [Verdict],
) -> Result<Superseded, Fault> {
    let versioned = verdicts.iter().filter_map(Verdict::version);
    let versioned: Vec<VersionedEvent> = versioned.cloned().collect();
    if versioned.is_empty() {
        return Ok(Superseded::default());
    }
    let standings = compare(context, tx, &versioned).await?;
    let compared = || versioned.iter().zip(&standings);
    let current = || {
        let is_current = |standing: VersionStanding| match standing {
            VersionStanding::Current => true,
            VersionStanding::Stale | VersionStanding::Busy => false,
        };
        let current = compared().filter(move |(_, standing)| is_current(**standing));
        current.map(|(event, _)| event)
    };
    let newest = newest_of_each_key(current()).into_iter();
    let newest: HashMap<KeyDigest, &Version> = newest.map(|it| (it.key, &it.version)).collect();
    let is_older = |event: &VersionedEvent| {
        let newest = newest.get(&event.key);
        newest.is_some_and(|newest| event.version.is_older_than(newest))
    };
    let by = |key: KeyDigest| -> Vec<EventId> {
        let newest = current().filter(|it| it.key == key && !is_older(it));
        newest.map(|it| it.event).collect()
    };
    let mut superseded = Superseded::default();
    let waiting = verdicts.iter_mut().filter(|it| it.version().is_some());
    for (verdict, (event, standing)) in waiting.zip(compared()) {
        match standing {
            VersionStanding::Stale => {}
            VersionStanding::Current if is_older(event) => {
                let (event, by) = (event.event, by(event.key));
                superseded.events.push(SupersededEvent { event, by });
            }
            VersionStanding::Current => continue,
            // An external call of another event keeps the key busy. The route had an effect when
            // that call began, and the lease of the call ends by itself.
            VersionStanding::Busy => return Err(busy()),
        }
        *verdict = Verdict::Ends(Outcome::Stale);
    }
    Ok(superseded)
}

/// Compares the versions of claimed events with what is stored of their keys.
pub(crate) async fn compare<S: Store>(
    context: &RouteContext<'_, S>,
    tx: &mut S::Tx,
    events: &[VersionedEvent],
) -> Result<Vec<VersionStanding>, Fault> {
    let standings = context.store().compare_versions(tx, context.route, events);
    let standings = standings.await?;
    if standings.len() != events.len() {
        let what = "compare versions: the store did not return one result for each event";
        return Err(Fault::plain(FaultKind::Internal, what));
    }
    Ok(standings)
}

/// Returns the fault for an event that must wait until another event's call has ended.
pub(crate) fn busy() -> Fault {
    let what = "handle an event: an external call for another event of its key is in flight";
    Fault::plain(FaultKind::Contention, what)
}

impl Superseded {
    /// Removes superseded events from the transaction if all newer events that supersede them have
    /// left it. No newer event is done then, so the older ones are not stale. Like the newer ones,
    /// they run alone later.
    pub fn leave(&self, events: &[ClaimedEvent], left: &mut LeftEvents) {
        let gone = left.ids();
        for superseded in &self.events {
            if !superseded.by.iter().all(|by| gone.contains(by)) {
                continue;
            }
            let claimed = events.iter();
            let claimed = claimed.filter(|it| it.envelope.event == superseded.event);
            left.alone.extend(claimed.cloned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claimed_event::sample;

    #[test]
    fn an_event_leaves_with_all_the_newer_ones_of_its_key() {
        let id = |number| EventId::from_bytes([number; 16]);
        let of = |event, by: &[u8]| SupersededEvent {
            event: id(event),
            by: by.iter().map(|it| id(*it)).collect(),
        };
        let superseded = Superseded {
            events: vec![of(1, &[2]), of(3, &[4, 5]), of(6, &[7])],
        };
        let events: Vec<ClaimedEvent> = (1..=7).map(sample).collect();
        let mut left = LeftEvents {
            alone: vec![sample(2), sample(4)],
            failed: Vec::new(),
        };
        superseded.leave(&events, &mut left);
        assert_eq!(left.ids(), [id(2), id(4), id(1)]);
    }
}
