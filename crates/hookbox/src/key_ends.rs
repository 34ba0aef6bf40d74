//! Warns about keys that expire. A source without a valid key cannot verify its provider's requests
//! and answers them with 503, so a warning is logged from two weeks before its last key expires.

use std::collections::BTreeMap;
use std::time::Duration;

use hookbox_event::Timestamp;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long before a source's last key expires the warnings start. A provider may need days to
/// introduce a new key.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How often the warning about a key that expires is repeated.
const WARN_INTERVAL: Duration = DAY;

/// A warning that the last signing key of a source expires soon, or that all its keys have expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysEnd {
    /// The last key of the source expires soon. The text is the warning for the log.
    Near(String),
    /// No key of the source is valid any more. The text is the warning for the log.
    Over(String),
}

/// Returns the warning about a source whose last key expires at `end`, or `None` if it is too early
/// for a warning, or the key never expires.
pub fn assess(source: &str, end: Option<Timestamp>, now: Timestamp) -> Option<KeysEnd> {
    let end = end?;
    if end <= now {
        return Some(KeysEnd::Over(format!(
            "every key of source {source} has expired, the last one at {end}, so requests to the \
             source are answered 503; add a valid key to its secrets and send SIGHUP"
        )));
    }
    let left = end.since(now);
    if left > WARN_BEFORE {
        return None;
    }
    let left = match left.as_secs() / DAY.as_secs() {
        0 => format!("{} hours", left.as_secs() / 3600),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    Some(KeysEnd::Near(format!(
        "the last key of source {source} expires at {end}, in {left}; add a new key to the secrets \
         of the source and send SIGHUP, or its requests will be answered 503"
    )))
}

/// For each source, its last warning and the time when this warning was logged.
#[derive(Default)]
pub struct Reminders(BTreeMap<String, (Timestamp, KeysEnd)>);

impl Reminders {
    /// Returns the warnings to log now: each once a day, and once more when the last key of its
    /// source has expired.
    pub fn due(
        &mut self,
        ends: &BTreeMap<String, Option<Timestamp>>,
        now: Timestamp,
    ) -> Vec<KeysEnd> {
        let mut due = Vec::new();
        for (source, end) in ends {
            let Some(state) = assess(source, *end, now) else {
                self.0.remove(source);
                continue;
            };
            let said = self.0.get(source).is_some_and(|(at, before)| {
                let is_over = matches!(state, KeysEnd::Over(_));
                let was_over = matches!(before, KeysEnd::Over(_));
                is_over == was_over && now.since(*at) < WARN_INTERVAL
            });
            if !said {
                self.0.insert(source.clone(), (now, state.clone()));
                due.push(state);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moment at which the key of these tests expires: 2026-11-24T00:00:00Z.
    const END: Timestamp = Timestamp::from_unix_micros(1_795_478_400_000_000);

    fn before(left: Duration) -> Timestamp {
        Timestamp::from_unix_micros(END.unix_micros() - left.as_micros() as i64)
    }

    #[test]
    fn an_end_is_warned_about_from_two_weeks_before() {
        assert_eq!(assess("begini", None, END), None);
        let more = WARN_BEFORE + Duration::from_secs(1);
        assert_eq!(assess("begini", Some(END), before(more)), None);
        for (left, text) in [
            (WARN_BEFORE, "expires at 2026-11-24T00:00:00Z, in 14 days; "),
            (DAY, "in 1 day; "),
            (DAY / 2, "in 12 hours"),
        ] {
            match assess("begini", Some(END), before(left)) {
                Some(KeysEnd::Near(what)) => assert!(what.contains(text), "{what}"),
                other => panic!("{other:?}"),
            }
        }
        // At the very moment at which a key expires, it is no longer valid, so the warning must say
        // that the key has expired.
        match assess("begini", Some(END), END) {
            Some(KeysEnd::Over(what)) => assert!(
                what.contains("requests to the source are answered 503"),
                "{what}"
            ),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_warning_is_repeated_once_a_day_and_at_the_end() {
        let mut reminders = Reminders::default();
        let ends = BTreeMap::from([("a".to_owned(), Some(END)), ("b".to_owned(), None)]);
        let mut due = |now| reminders.due(&ends, now).len();
        assert_eq!(due(before(20 * DAY)), 0);
        assert_eq!(due(before(14 * DAY)), 1);
        assert_eq!(due(before(13 * DAY + DAY / 2)), 0);
        assert_eq!(due(before(13 * DAY)), 1);
        assert_eq!(due(before(DAY / 4)), 1);
        assert_eq!(
            due(END),
            1,
            "the expiry of the last key must be logged, although a warning was logged that day"
        );
        assert_eq!(due(END.saturating_add(DAY / 2)), 0);
        assert_eq!(due(END.saturating_add(DAY)), 1);
        // Once the source has a key that never expires, its last warning is forgotten. A warning
        // about a later key is therefore logged at once, although a day has not passed.
        let renewed = BTreeMap::from([("a".to_owned(), None)]);
        assert_eq!(reminders.due(&renewed, END), []);
        assert_eq!(reminders.due(&ends, END).len(), 1);
    }
}
