//! Records which parts cannot be used, and which reasons are logged already.

use std::collections::BTreeSet;

/// The parts that could not be used when they were last read.
#[derive(Debug, Default)]
pub struct UnusableParts {
    pub keys: UnusablePart,
    pub certificate: UnusablePart,
    pub schemas: UnusablePart,
}

impl UnusableParts {
    /// Returns whether any part could not be used when it was last read.
    pub fn any(&self) -> bool {
        let Self {
            keys,
            certificate,
            schemas,
        } = self;
        keys.is_unusable || certificate.is_unusable || schemas.is_unusable
    }

    /// Forgets what is logged already, so that the next read of each part logs every reason.
    pub fn log_again(&mut self) {
        let Self {
            keys,
            certificate,
            schemas,
        } = self;
        for part in [keys, certificate, schemas] {
            part.logged.clear();
        }
    }
}

/// Whether one part can be used, and what was logged about it. The part of all keys, or of all JSON
/// Schemas, counts as unusable when those of one source cannot be used.
#[derive(Debug, Default)]
pub struct UnusablePart {
    /// Whether the part could not be used when it was last read.
    pub is_unusable: bool,
    /// What the last read has found.
    found: BTreeSet<String>,
    /// What is logged already, of what the last read has found.
    logged: BTreeSet<String>,
}

impl UnusablePart {
    /// Starts to read the part.
    pub fn start_read(&mut self) {
        self.is_unusable = false;
        let before = std::mem::take(&mut self.found);
        self.logged.retain(|text| before.contains(text));
    }

    /// Records that the part cannot be used. Returns whether the reason must be logged.
    pub fn fail(&mut self, text: &str) -> bool {
        self.is_unusable = true;
        self.is_new(text)
    }

    /// Records something about a part that can be used. Returns whether it must be logged.
    pub fn is_new(&mut self, text: &str) -> bool {
        self.found.insert(text.to_owned());
        self.logged.insert(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the keys, finds these reasons, and returns those that must be logged.
    fn read<'a>(parts: &mut UnusableParts, reasons: &[&'a str]) -> Vec<&'a str> {
        parts.keys.start_read();
        let is_logged = |why: &&&str| parts.keys.fail(why);
        let logged: Vec<&str> = reasons.iter().filter(is_logged).copied().collect();
        assert_eq!(parts.any(), !reasons.is_empty());
        logged
    }

    #[test]
    fn a_reason_is_logged_again_only_when_it_is_new() {
        let mut parts = UnusableParts::default();
        assert_eq!(read(&mut parts, &["a", "b"]), ["a", "b"]);
        assert_eq!(read(&mut parts, &["a", "b"]), [""; 0]);
        assert_eq!(read(&mut parts, &["b", "c"]), ["c"]);
        assert_eq!(read(&mut parts, &["a", "b"]), ["a"]);
        assert_eq!(read(&mut parts, &[]), [""; 0]);
        assert_eq!(read(&mut parts, &["b"]), ["b"]);
        parts.log_again();
        assert!(parts.any());
        assert_eq!(read(&mut parts, &["b"]), ["b"]);
        assert_eq!(read(&mut parts, &["b"]), [""; 0]);
    }

    #[test]
    fn what_is_only_noted_makes_no_part_unusable() {
        let mut part = UnusablePart::default();
        for is_logged in [true, false] {
            part.start_read();
            assert_eq!(part.is_new("a"), is_logged);
            assert!(!part.is_unusable);
        }
    }
}
