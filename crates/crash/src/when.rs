//! Parses the value of `HOOKBOX_CRASH_AT`: the crash point at which the process crashes, the key of
//! the object that is processed there, such as a topic, and the number of the passing at which the
//! process crashes.

use std::sync::atomic::{AtomicU64, Ordering};

/// A parsed value of `HOOKBOX_CRASH_AT`: when to crash.
#[derive(Debug)]
pub(crate) struct When {
    name: String,
    key: Option<String>,
    /// At which passing of the crash point to crash, counted from 1. `None` means at every passing.
    at: Option<u64>,
    passed: AtomicU64,
}

impl When {
    /// Parses `NAME[=KEY][:TIMES]`, as described at [`crate::CRASH_AT`]. Returns `None` when the
    /// text has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let (point, at) = match text.rsplit_once(':') {
            None => (text, Some(1)),
            Some((point, "*")) => (point, None),
            Some((point, times)) => (point, Some(times.parse().ok()?)),
        };
        let (name, key) = match point.split_once('=') {
            None => (point, None),
            Some((name, key)) => (name, Some(key.to_owned())),
        };
        let named = !name.is_empty() && at != Some(0);
        named.then(|| Self {
            name: name.to_owned(),
            key,
            at,
            passed: AtomicU64::new(0),
        })
    }

    /// Counts a passing of the crash point, and returns whether to crash at this passing.
    pub fn is_now(&self, name: &str, key: Option<&str>) -> bool {
        if self.name != name || (self.key.is_some() && self.key.as_deref() != key) {
            return false;
        }
        let passed = self.passed.fetch_add(1, Ordering::SeqCst) + 1;
        self.at.is_none_or(|at| at == passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passings(text: &str, points: &[(&str, Option<&str>)]) -> Vec<bool> {
        let when = When::parse(text).unwrap();
        let passing = |(name, key): &(&str, Option<&str>)| when.is_now(name, *key);
        points.iter().map(passing).collect()
    }

    #[test]
    fn the_first_passing_is_the_default() {
        let points = [("a", None), ("b", None), ("a", None), ("a", Some("k"))];
        assert_eq!(passings("a", &points), [true, false, false, false]);
        assert_eq!(passings("a:2", &points), [false, false, true, false]);
        assert_eq!(passings("a:*", &points), [true, false, true, true]);
        assert_eq!(passings("c", &points), [false; 4]);
    }

    #[test]
    fn a_key_restricts_a_crash_point_to_one_object() {
        let points = [("a", None), ("a", Some("x.y")), ("a", Some("x.y"))];
        assert_eq!(passings("a=x.y:2", &points), [false, false, true]);
        assert_eq!(passings("a=z", &points), [false; 3]);
    }

    #[test]
    fn a_text_of_another_form_is_refused() {
        for text in ["", ":1", "a:0", "a:x", "=k"] {
            assert!(When::parse(text).is_none(), "{text:?}");
        }
    }
}
