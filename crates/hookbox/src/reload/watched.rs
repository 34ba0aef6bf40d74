//! Files that a running service reads again when they change: known by their identity and not by
//! their content, so that looking costs a few system calls.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hookbox_event::Timestamp;

/// What a file was at a look: another file in its place, and another content of the same file,
/// differ in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Every file that there was at a look.
pub type Seen = BTreeMap<PathBuf, Identity>;

/// Looks at files and, in folders, at their JSON files. A link is what it leads to: secrets that
/// are mounted are exchanged by a link.
pub fn look_at(paths: &[PathBuf]) -> Seen {
    let mut seen = Seen::new();
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

/// What was seen when each file was last read, and at the look before.
#[derive(Debug, Default)]
pub struct Watched {
    read: Seen,
    before: Seen,
    /// Since when a file, or one that is read with it, has been another one at every look.
    restless: BTreeMap<PathBuf, Restless>,
}

#[derive(Debug)]
struct Restless {
    since: Timestamp,
    is_named: bool,
}

/// What has changed.
#[derive(Debug, Default)]
pub struct Changes {
    /// What can be read: two looks in a row saw the same.
    pub settled: BTreeSet<PathBuf>,
    /// What is still being written, or is read together with it.
    pub moving: BTreeSet<PathBuf>,
    /// What has been that for a minute: named once.
    pub restless: Vec<PathBuf>,
}

/// For how long a file may change from look to look before it is named.
const RESTLESS_MAX: Duration = Duration::from_secs(60);

impl Watched {
    /// What has changed since it was read, once two looks in a row saw the same: a file that is
    /// being written is left alone until then, and so are files that are only right together, as a
    /// certificate and its key and those of one folder are. None waits for the others.
    pub fn settled(&mut self, seen: Seen, together: &[Vec<PathBuf>], now: Timestamp) -> Changes {
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

    /// Everything is read now, settled or not.
    pub fn at_once(&mut self, seen: Seen) {
        self.read = seen;
    }
}

/// Whether it is one of these files, or in one of these folders.
pub fn is_of(path: &Path, of: &[PathBuf]) -> bool {
    of.iter().any(|of| path.starts_with(of))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    fn seen(files: &[(&str, u64)]) -> Seen {
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

    /// Looks every two seconds from the beginning of time.
    #[derive(Default)]
    struct Looks {
        watched: Watched,
        seconds: i64,
    }

    impl Looks {
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
    fn a_change_counts_once_when_two_looks_agree() {
        let mut looks = Looks::default();
        let mut look = |files: &[(&str, u64)]| looks.settled(files);
        // At the start nothing was read by the watch itself.
        assert_eq!(look(&[("a", 1), ("b", 1)]), [""; 0]);
        assert_eq!(look(&[("a", 1), ("b", 1)]), ["a", "b"]);
        assert_eq!(look(&[("a", 1), ("b", 1)]), [""; 0]);
        // It is still being written.
        assert_eq!(look(&[("a", 2), ("b", 1)]), [""; 0]);
        assert_eq!(look(&[("a", 3), ("b", 1)]), [""; 0]);
        assert_eq!(look(&[("a", 3), ("b", 1)]), ["a"]);
        assert_eq!(look(&[("a", 3), ("b", 1)]), [""; 0]);
        // One that is gone, and one that is new.
        assert_eq!(look(&[("a", 3), ("c", 1)]), [""; 0]);
        assert_eq!(look(&[("a", 3), ("c", 1)]), ["b", "c"]);
        // What changes and changes back was never read.
        assert_eq!(look(&[("a", 4), ("c", 1)]), [""; 0]);
        assert_eq!(look(&[("a", 3), ("c", 1)]), [""; 0]);
        assert_eq!(look(&[("a", 3), ("c", 1)]), [""; 0]);
    }

    #[test]
    fn a_restless_file_keeps_those_that_it_is_read_with_and_is_named_after_a_minute() {
        let mut looks = Looks::default();
        let mut at = |restless: u64, other: u64| {
            looks.look(&[("a", other), ("cert", restless), ("cert-key", other)])
        };
        at(0, 1);
        assert_eq!(names(at(1, 1).settled), ["a"]);
        let looks: Vec<Changes> = (2..=40).map(|number| at(number, 2)).collect();
        let settled: Vec<_> = looks.iter().flat_map(|look| &look.settled).collect();
        assert_eq!(settled, [Path::new("a")], "it waits for no other file");
        let named: Vec<_> = looks.iter().flat_map(|look| &look.restless).collect();
        assert_eq!(named, [Path::new("cert"), Path::new("cert-key")], "once");
        assert_eq!(names(at(40, 2).settled), ["cert", "cert-key"]);
    }

    #[test]
    fn a_look_at_once_needs_no_second_one() {
        let mut looks = Looks::default();
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
        let before = look_at(from_ref(&folder));
        assert_eq!(before.len(), 1);
        // As long, and as old: only the inode is another.
        std::fs::write(&other, "two").unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert_ne!(look_at(from_ref(&folder)), before);
        assert_eq!(look_at(from_ref(&file)).len(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(look_at(from_ref(&folder)).is_empty());
    }
}
