//! Detects changed files. Files are compared by their identity and not by their content, so that a
//! check costs only a few system calls.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hookbox_event::Timestamp;

/// The identity of a file at a check. It changes when another file takes its place, and when the
/// content of the file changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The identities of all files that existed at a check.
pub type Identities = BTreeMap<PathBuf, Identity>;

/// Reads the identities of files, and of the JSON files in folders. Links are followed, because
/// mounted secrets are replaced by changing a link.
pub fn identities_of(paths: &[PathBuf]) -> Identities {
    let mut seen = Identities::new();
    for path in paths {
        let Ok(found) = std::fs::metadata(path) else {
            continue;
        };
        if found.is_dir() {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            let files = entries.map(|entry| entry.path());
            for file in files.filter(|file| file.extension().is_some_and(|it| it == "json")) {
                if let Ok(found) = std::fs::metadata(&file) {
                    seen.insert(file, identity(&found));
                }
            }
        } else {
            seen.insert(path.clone(), identity(&found));
        }
    }
    seen
}

fn identity(found: &std::fs::Metadata) -> Identity {
    Identity {
        device: found.dev(),
        inode: found.ino(),
        bytes: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    }
}

/// The identities of files when each was last read, and at the last check.
#[derive(Debug, Default)]
pub struct Watched {
    read: Identities,
    before: Identities,
    /// Files that keep changing, each with the time since which it has differed at every check. A
    /// file that is read together with such a file is listed as well.
    restless: BTreeMap<PathBuf, Restless>,
}

#[derive(Debug)]
struct Restless {
    since: Timestamp,
    is_named: bool,
}

/// The changes that a check has found.
#[derive(Debug, Default)]
pub struct Changes {
    /// Files that can be read now: two consecutive checks found the same identity.
    pub settled: BTreeSet<PathBuf>,
    /// Files that are still being written, and files that are read together with one of them.
    pub moving: BTreeSet<PathBuf>,
    /// Files that have been changing for a minute; each is listed once.
    pub restless: Vec<PathBuf>,
}

/// How long a file may differ at every check before it is logged as a file that keeps changing.
const RESTLESS_MAX: Duration = Duration::from_secs(60);

impl Watched {
    /// Returns the files that have changed since they were read. A file is returned once two
    /// consecutive checks found the same identity, because until then it may still be written.
    /// Files that are valid only together, such as a certificate and its key, or the files of one
    /// folder, are returned when none of them changes any more. Other files are not delayed.
    pub fn settled(
        &mut self,
        seen: Identities,
        together: &[Vec<PathBuf>],
        now: Timestamp,
    ) -> Changes {
        let all = self
            .read
            .keys()
            .chain(self.before.keys())
            .chain(seen.keys());
        let all: BTreeSet<PathBuf> = all.cloned().collect();
        let has_moved = |path: &&PathBuf| self.before.get(*path) != seen.get(*path);
        let moved: Vec<&PathBuf> = all.iter().filter(has_moved).collect();
        let mut changes = Changes::default();
        for path in &all {
            let mut groups = together.iter().filter(|group| is_of(path, group));
            let is_moving = moved.contains(&path)
                || groups.any(|group| moved.iter().any(|moved| is_of(moved, group)));
            if is_moving {
                changes.moving.insert(path.clone());
                let restless = self.restless.entry(path.clone()).or_insert(Restless {
                    since: now,
                    is_named: false,
                });
                if !restless.is_named && now.since(restless.since) >= RESTLESS_MAX {
                    restless.is_named = true;
                    changes.restless.push(path.clone());
                }
                continue;
            }
            self.restless.remove(path);
            if self.read.get(path) != seen.get(path) {
                changes.settled.insert(path.clone());
                match seen.get(path) {
                    Some(identity) => self.read.insert(path.clone(), identity.clone()),
                    None => self.read.remove(path),
                };
            }
        }
        self.before = seen;
        changes
    }

    /// Records that a reload reads all files now, even those that are still changing, so that the
    /// next checks do not report these files as changed.
    pub fn at_once(&mut self, seen: Identities) {
        self.read = seen;
    }
}

/// Returns whether `path` is one of the files in `of`, or in one of the folders in `of`.
pub fn is_of(path: &Path, of: &[PathBuf]) -> bool {
    of.iter().any(|of| path.starts_with(of))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    fn seen(files: &[(&str, u64)]) -> Identities {
        let file = |(name, bytes): &(&str, u64)| {
            let identity = Identity {
                device: 1,
                inode: 1,
                bytes: *bytes,
                modified: (0, 0),
                changed: (0, 0),
            };
            (PathBuf::from(name), identity)
        };
        files.iter().map(file).collect()
    }

    fn names(changed: BTreeSet<PathBuf>) -> Vec<String> {
        let name = |path: PathBuf| path.display().to_string();
        changed.into_iter().map(name).collect()
    }

    /// Checks files every two seconds, starting at time 0.
    #[derive(Default)]
    struct Checks {
        watched: Watched,
        seconds: i64,
    }

    impl Checks {
        fn look(&mut self, files: &[(&str, u64)]) -> Changes {
            self.seconds += 2;
            let now = Timestamp::from_unix_micros(self.seconds * 1_000_000);
            let together = [vec![PathBuf::from("cert"), PathBuf::from("cert-key")]];
            self.watched.settled(seen(files), &together, now)
        }

        fn settled(&mut self, files: &[(&str, u64)]) -> Vec<String> {
            names(self.look(files).settled)
        }
    }

    #[test]
    fn a_change_counts_once_when_two_checks_agree() {
        let mut looks = Checks::default();
        let mut look = |files: &[(&str, u64)]| looks.settled(files);
        // At the start no file is recorded as read, so each file counts as changed once.
        assert_eq!(look(&[("a", 1), ("b", 1)]), [""; 0]);
        assert_eq!(look(&[("a", 1), ("b", 1)]), ["a", "b"]);
        assert_eq!(look(&[("a", 1), ("b", 1)]), [""; 0]);
        // File a is still being written.
        assert_eq!(look(&[("a", 2), ("b", 1)]), [""; 0]);
        assert_eq!(look(&[("a", 3), ("b", 1)]), [""; 0]);
        assert_eq!(look(&[("a", 3), ("b", 1)]), ["a"]);
        assert_eq!(look(&[("a", 3), ("b", 1)]), [""; 0]);
        // File b was removed, and file c is new.
        assert_eq!(look(&[("a", 3), ("c", 1)]), [""; 0]);
        assert_eq!(look(&[("a", 3), ("c", 1)]), ["b", "c"]);
        // File a was changed and, before it was read, changed back. So it does not count as
        // changed.
        assert_eq!(look(&[("a", 4), ("c", 1)]), [""; 0]);
        assert_eq!(look(&[("a", 3), ("c", 1)]), [""; 0]);
        assert_eq!(look(&[("a", 3), ("c", 1)]), [""; 0]);
    }

    #[test]
    fn a_restless_file_keeps_those_that_it_is_read_with_and_is_named_after_a_minute() {
        let mut looks = Checks::default();
        let mut at = |restless: u64, other: u64| {
            looks.look(&[("a", other), ("cert", restless), ("cert-key", other)])
        };
        at(0, 1);
        assert_eq!(names(at(1, 1).settled), ["a"]);
        let looks: Vec<Changes> = (2..=40).map(|number| at(number, 2)).collect();
        let settled: Vec<_> = looks.iter().flat_map(|look| &look.settled).collect();
        assert_eq!(
            settled,
            [Path::new("a")],
            "file a must be read although the certificate still changes"
        );
        let named: Vec<_> = looks.iter().flat_map(|look| &look.restless).collect();
        assert_eq!(
            named,
            [Path::new("cert"), Path::new("cert-key")],
            "each file that still changes after a minute must be reported once"
        );
        assert_eq!(names(at(40, 2).settled), ["cert", "cert-key"]);
    }

    #[test]
    fn a_reload_needs_no_second_check() {
        let mut looks = Checks::default();
        looks.watched.at_once(seen(&[("a", 1)]));
        assert_eq!(looks.settled(&[("a", 1)]), [""; 0]);
        assert_eq!(looks.settled(&[("a", 1)]), [""; 0]);
    }

    #[test]
    fn another_file_in_the_same_place_is_another_one() {
        let name = format!("hookbox-watched-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        let (file, other) = (folder.join("a.json"), folder.join("b.new"));
        std::fs::write(&file, "one").unwrap();
        let before = identities_of(from_ref(&folder));
        assert_eq!(before.len(), 1);
        // The new file has the same length and the same time; only its inode differs.
        std::fs::write(&other, "two").unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert_ne!(identities_of(from_ref(&folder)), before);
        assert_eq!(identities_of(from_ref(&file)).len(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(identities_of(from_ref(&folder)).is_empty());
    }
}
