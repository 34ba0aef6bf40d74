//! Creates the SQLite file so that only its owner can read it, and never on a network filesystem.

pub(crate) mod connect;
mod idle;
mod leash;
pub(crate) mod opened_file;
pub(crate) mod paths;
pub(crate) mod purpose;
pub(crate) mod readers;
pub(crate) mod room;
pub(crate) mod shared;
pub(crate) mod turns;
pub(crate) mod writer;

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hookbox_driver::OpenError;

use crate::THE_FILE;
use crate::file::paths::folder;
use crate::refused::{self, by_system};

/// Filesystems on which locks and shared memory do not work between machines, or not at all.
const REFUSED: [&str; 18] = [
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "davfs",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "orangefs",
    "pvfs2",
    "smb3",
    "smbfs",
    "vboxsf",
];

/// Remote FUSE filesystems. The kernel lists a FUSE filesystem as `fuse.` and its name.
const REFUSED_FUSE: [&str; 7] = [
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.gcsfuse",
    "fuse.glusterfs",
    "fuse.ceph",
    "fuse.rclone",
    "fuse.davfs2",
];

/// The file in which the kernel lists mounts. On a system without this file, the check is skipped.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Creates an empty file that only its owner may read or write, and makes its directory entry
/// durable. Does nothing when the file exists. The files `-wal` and `-shm`, which SQLite creates
/// beside it, inherit its mode.
pub(crate) fn create(path: &Path) -> Result<(), OpenError> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let file = match made {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(by_system(path)(error)),
    };
    // SQLite makes the directory entry of its write-ahead log durable, but not that of the database
    // file. So the folder is synced here.
    file.sync_all()
        .and_then(|()| File::open(folder(path)))
        .and_then(|folder| folder.sync_all())
        .map_err(by_system(path))
}

/// Returns the metadata of the file at the path; `None` when nothing is there. Anything but a file
/// is an error, because opening a pipe, for example, would block until another process opens its
/// other end.
pub(crate) fn look_up(path: &Path) -> Result<Option<Metadata>, OpenError> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(found)),
        Ok(found) => {
            let what = if found.is_dir() {
                "a folder"
            } else {
                "not a file"
            };
            Err(refused::refused(path, format!("is {what}"), "name a file"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(by_system(path)(error)),
    }
}

/// Returns an error when the file lies on a filesystem of a kind in the two lists above, on which
/// SQLite's locks cannot be trusted. A system that does not report its mounts passes the check.
pub(crate) fn refuse_network(path: &Path) -> Result<(), OpenError> {
    // Symbolic links are resolved, because the filesystem of the target counts. The file may not
    // exist yet; then its folder is resolved.
    let place = fs::canonicalize(path)
        .or_else(|_| fs::canonicalize(folder(path)))
        .map_err(by_system(path))?;
    let Ok(mounts) = fs::read_to_string(MOUNTS) else {
        return Ok(());
    };
    match refused(&mounts, &place) {
        None => Ok(()),
        Some(kind) => Err(OpenError::Unsafe {
            what: THE_FILE,
            why: format!(
                "the file lies on a {kind} filesystem, where SQLite's locks cannot be trusted; put \
                 the file on a local disk"
            ),
        }),
    }
}

/// Returns the kind of the filesystem at `place` if hookbox refuses that kind, otherwise `None`.
fn refused<'m>(mounts: &'m str, place: &Path) -> Option<&'m str> {
    // When several filesystems are mounted at one path, the last one hides the others.
    let (_, kind) = mounts
        .lines()
        .filter_map(mount)
        .filter(|(point, _)| place.starts_with(point))
        .max_by_key(|(point, _)| point.components().count())?;
    (REFUSED.contains(&kind) || REFUSED_FUSE.contains(&kind)).then_some(kind)
}

/// Parses one line of mountinfo: the fifth field is the mount point, the first field after " - " is
/// the kind (proc(5)).
fn mount(line: &str) -> Option<(PathBuf, &str)> {
    let (place, what) = line.split_once(" - ")?;
    let point = place.split(' ').nth(4)?.replace("\\040", " ");
    Some((PathBuf::from(point), what.split(' ').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_filesystems_are_reported() {
        let mounts = "\
            27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            28 27 0:25 / /mnt/share rw shared:1 - nfs4 server:/x rw\n\
            29 27 0:26 / /mnt/a\\040b rw - fuse.sshfs me@there rw\n\
            30 28 8:1 / /mnt/share/local rw - xfs /dev/sda rw\n\
            31 27 0:27 / /mnt/over rw - ext4 /dev/sdb rw\n\
            32 31 0:28 / /mnt/over rw - cifs //server/x rw\n";
        for (folder, expect) in [
            ("/", None),
            ("/var/lib", None),
            ("/mnt/share", Some("nfs4")),
            ("/mnt/share/deep/er", Some("nfs4")),
            ("/mnt/shared", None),
            ("/mnt/share/local/x", None),
            ("/mnt/a b", Some("fuse.sshfs")),
            ("/mnt/over", Some("cifs")),
        ] {
            assert_eq!(refused(mounts, Path::new(folder)), expect, "{folder}");
        }
        assert_eq!(refused("", Path::new("/")), None);
    }
}
