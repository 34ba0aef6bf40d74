//! The rules for routes that apply only the newest event of each key: which event is stale, and
//! which version of a key is stored when events of the key are done.

use std::collections::BTreeMap;

use hookbox_event::{EventId, EventNumber, KeyDigest, Version};

/// An event that a transaction has claimed, with its key and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedEvent {
    /// The id of the event.
    pub event: EventId,
    /// The digest of the event's key.
    pub key: KeyDigest,
    /// The version of the event.
    pub version: Version,
}

/// How the version of an event compares with the newest version of its key that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionStanding {
    /// No newer event of the key is done, so the event is to be handled. Its version may be equal
    /// to the newest version that is done.
    Current,
    /// A newer event of the key is done: the event must not be handled any more.
    Stale,
    /// An external call for another event of the key is in flight: the event must wait, so that the
    /// receiver gets the events of a key one after the other.
    Busy,
}

/// What a store knows of one key on a route.
#[derive(Debug, Clone, Default)]
pub struct KeyState {
    /// The newest version that is done; `None` if nothing of the key is done.
    pub version: Option<Version>,
    /// The number of the event for which an external call is in flight, which means that its lease
    /// has not ended; `None` if there is no such event.
    pub calling: Option<EventNumber>,
}

impl KeyState {
    /// Returns how an event of the key with this version compares with what is stored of the key.
    pub fn standing(&self, event: EventNumber, version: &Version) -> VersionStanding {
        match (&self.version, self.calling) {
            (Some(done), _) if version.is_older_than(done) => VersionStanding::Stale,
            (_, Some(calling)) if calling != event => VersionStanding::Busy,
            (Some(_) | None, _) => VersionStanding::Current,
        }
    }
}

/// Returns the newest event of each key among `events`, in the order of the keys. If several events
/// of a key have the newest version, the last of them is returned.
pub fn newest_of_each_key<'a>(
    events: impl IntoIterator<Item = &'a VersionedEvent>,
) -> Vec<&'a VersionedEvent> {
    let mut newest: BTreeMap<KeyDigest, &VersionedEvent> = BTreeMap::new();
    for event in events {
        let known = newest.get(&event.key);
        if !known.is_some_and(|known| event.version.is_older_than(&known.version)) {
            newest.insert(event.key, event);
        }
    }
    newest.into_values().collect()
}

#[cfg(test)]
impl VersionedEvent {
    /// Returns an event. All bytes of its id are `event`, and all bytes of its key digest are
    /// `key`.
    pub(crate) fn sample(event: u8, key: u8, version: &str) -> Self {
        Self {
            event: EventId::from_bytes([event; 16]),
            key: KeyDigest::from_bytes([key; 16]),
            version: Version::from_stored(version).expect("the version must be valid"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_older_event_is_stale() {
        use VersionStanding::{Busy, Current, Stale};
        let version = |text: &str| VersionedEvent::sample(1, 1, text).version;
        for (of, done, calling, expect) in [
            ("1", None, None, Current),
            ("1", Some("2"), None, Stale),
            ("2.0", Some("2"), None, Current),
            ("3", Some("2"), None, Current),
            // A number and a time are never versions of one key, because the digest of a key covers
            // the kind of its versions.
            ("3", Some("2026-11-26T17:30:00Z"), None, Current),
            ("3", Some("2"), Some(1), Current),
            ("3", Some("2"), Some(2), Busy),
            ("3", None, Some(2), Busy),
            ("1", Some("2"), Some(2), Stale),
        ] {
            let state = KeyState {
                version: done.map(version),
                calling: calling.map(EventNumber::from_i64),
            };
            let standing = state.standing(EventNumber::from_i64(1), &version(of));
            assert_eq!(standing, expect, "{of} with {state:?}");
        }
    }

    #[test]
    fn a_key_rises_to_the_newest_of_its_events() {
        let events = [
            (1, 2, "7"),
            (2, 1, "1"),
            (3, 2, "9"),
            (4, 2, "8"),
            (5, 1, "1.0"),
        ];
        let events = events.map(|(event, key, text)| VersionedEvent::sample(event, key, text));
        assert_eq!(newest_of_each_key(&events), [&events[4], &events[2]]);
        assert!(newest_of_each_key([]).is_empty());
    }
}
