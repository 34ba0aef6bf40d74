//! The keys of routes that apply only the newest event of each key, in the tables of the simulated
//! store.

use std::collections::BTreeMap;
use std::time::Duration;

use hookbox_driver::{Outcome, VersionedEvent, newest_of_each_key};
use hookbox_event::{EventId, KeyDigest, RouteName, Version};

use crate::on_route::OnRoute;
use crate::settled_receipt::SettledReceipt;

/// For each route and each of its keys: the newest version, and the call in flight.
#[derive(Default)]
pub(crate) struct NewestVersions(BTreeMap<(RouteName, KeyDigest), StoredKey>);

/// What is stored of a key.
#[derive(Default)]
struct StoredKey {
    /// The newest version among the events of the key that are done.
    version: Option<Version>,
    /// The event for which a call is in flight. The second value is the time at which the lease of
    /// this call ends, since the beginning of the run.
    calling: Option<(EventId, Duration)>,
}

impl NewestVersions {
    /// Returns two things about a key: the newest version that is done, and the event for which a
    /// call is in flight.
    pub fn of(
        &self,
        route: &RouteName,
        key: KeyDigest,
        now: Duration,
    ) -> (Option<Version>, Option<EventId>) {
        let Some(stored) = self.0.get(&(route.clone(), key)) else {
            return (None, None);
        };
        let calling = stored.calling.filter(|(_, until)| *until > now);
        (stored.version.clone(), calling.map(|(event, _)| event))
    }

    /// Raises keys to the versions of the events that are done.
    pub fn raise(&mut self, settled: &[SettledReceipt], versions: &[VersionedEvent]) {
        let Some(first) = settled.first() else {
            return;
        };
        let is_done = |event: &&VersionedEvent| {
            let mut of_event = settled.iter();
            of_event.any(|one| {
                let is_it = one.envelope.event == event.event;
                is_it && matches!(one.outcome, Outcome::Done { .. })
            })
        };
        for event in newest_of_each_key(versions.iter().filter(is_done)) {
            let key = (first.route.clone(), event.key);
            self.0.entry(key).or_default().version = Some(event.version.clone());
        }
    }

    /// Notes that a call for an event is in flight. Its lease ends at `until`.
    pub fn call(&mut self, (route, event): &OnRoute, key: KeyDigest, until: Duration) {
        let stored = self.0.entry((route.clone(), key)).or_default();
        stored.calling = Some((*event, until));
    }

    /// Notes that a call for an event has ended, and raises its key if the call is done. The key
    /// stays busy if the end does not free it.
    pub fn end_call(
        &mut self,
        route: &RouteName,
        event: &VersionedEvent,
        (is_done, frees): (bool, bool),
    ) {
        let stored = self.0.entry((route.clone(), event.key)).or_default();
        let ended = stored.calling.filter(|_| frees);
        if ended.is_some_and(|(of, _)| of == event.event) {
            stored.calling = None;
        }
        let done = stored.version.as_ref();
        if is_done && !done.is_some_and(|done| event.version.is_older_than(done)) {
            stored.version = Some(event.version.clone());
        }
    }
}
