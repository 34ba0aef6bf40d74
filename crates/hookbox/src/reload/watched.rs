//! Files that a running service reads again when they change: known by their identity and not by
//! their content, so that looking costs a few system calls.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

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
pub fn look_at<'p>(paths: impl Iterator<Item = &'p Path>) -> Seen {
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
            seen.insert(path.to_owned(), identity(&found));
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

/// What was seen when something was last read, and at the look before.
#[derive(Debug, Default)]
pub struct Watched {
    read: Seen,
    before: Seen,
}

impl Watched {
    /// What has changed since it was read, once two looks in a row saw the same: a file that is
    /// being written, and a certificate whose key is still to come, are left alone until then.
    pub fn settled(&mut self, seen: Seen) -> BTreeSet<PathBuf> {
        let is_settled = self.before == seen;
        self.before.clone_from(&seen);
        if is_settled {
            self.at_once(seen)
        } else {
            BTreeSet::new()
        }
    }

    /// What has changed since it was read, settled or not.
    pub fn at_once(&mut self, seen: Seen) -> BTreeSet<PathBuf> {
        let all = self.read.keys().chain(seen.keys());
        let differs = |path: &&PathBuf| self.read.get(*path) != seen.get(*path);
        let changed = all.filter(differs).cloned().collect();
        self.read = seen;
        changed
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_change_counts_once_when_two_looks_agree() {
        let mut watched = Watched::default();
        let mut look = |files: &[(&str, u64)]| names(watched.settled(seen(files)));
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
    fn a_look_at_once_needs_no_second_one() {
        let mut watched = Watched::default();
        assert_eq!(names(watched.at_once(seen(&[("a", 1)]))), ["a"]);
        assert_eq!(names(watched.at_once(seen(&[("a", 1)]))), [""; 0]);
        assert_eq!(names(watched.settled(seen(&[("a", 1)]))), [""; 0]);
        assert_eq!(names(watched.settled(seen(&[("a", 1)]))), [""; 0]);
    }

    #[test]
    fn another_file_in_the_same_place_is_another_one() {
        let name = format!("hookbox-watched-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        let (file, other) = (folder.join("a.json"), folder.join("b.new"));
        std::fs::write(&file, "one").unwrap();
        let before = look_at([folder.as_path()].into_iter());
        assert_eq!(before.len(), 1);
        // As long, and as old: only the inode is another.
        std::fs::write(&other, "two").unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert_ne!(look_at([folder.as_path()].into_iter()), before);
        assert_eq!(look_at([file.as_path()].into_iter()).len(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(look_at([folder.as_path()].into_iter()).is_empty());
    }
}
