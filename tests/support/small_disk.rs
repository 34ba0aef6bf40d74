//! A disk that a test can fill: a small file system in memory. Mounting it needs root.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{did_not_run, random_name};

/// A mounted folder. It is unmounted when it is dropped.
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of `mib` MiB that belongs to the current user. Returns `None`, with a message,
    /// if the current user is not root.
    pub fn new(mib: u32) -> Option<Self> {
        let folder = Path::new("/tmp").join(random_name("hookbox-disk"));
        fs::create_dir(&folder).unwrap();
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={mib}m,mode=700"),
                "tmpfs",
            ])
            .arg(&folder)
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            fs::remove_dir(&folder).unwrap();
            did_not_run("a disk that can be filled needs root (mount -t tmpfs)");
            return None;
        }
        Some(Self { folder })
    }

    /// Gives the disk the owner of this folder, so that a server which owns the folder may write to
    /// the disk.
    pub fn belongs_with(&self, place: &Path) {
        let owner = fs::metadata(place).unwrap();
        chown(&self.folder, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    /// Returns the folder where the disk is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Moves a server's folder with its content to this disk, and leaves a symbolic link in its
    /// place. The server must not be running.
    pub fn takes_over(&self, place: &Path) {
        self.belongs_with(place);
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(place.join(".")).arg(&self.folder);
        assert!(copy.status().unwrap().success());
        fs::remove_dir_all(place).unwrap();
        std::os::unix::fs::symlink(&self.folder, place).unwrap();
    }

    /// Fills the disk until no byte is free.
    pub fn fill(&self) {
        let mut ballast = fs::File::create(self.folder.join("ballast")).unwrap();
        for size in [64 * 1024, 1024] {
            let piece = vec![0_u8; size];
            while ballast.write_all(&piece).is_ok() {}
        }
    }

    /// Fills the disk until this many bytes are free.
    pub fn fill_but(&self, bytes: u64) {
        self.fill();
        let ballast = self.folder.join("ballast");
        let ballast = fs::File::options().write(true).open(ballast).unwrap();
        let filled = ballast.metadata().unwrap().len();
        ballast.set_len(filled.checked_sub(bytes).unwrap()).unwrap();
    }

    /// Frees the filled space.
    pub fn free(&self) {
        fs::remove_file(self.folder.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The disk is unmounted lazily (as soon as no file on it is open), because a server may
        // still be closing its files.
        let unmounted = Command::new("umount").arg("-l").arg(&self.folder).status();
        if unmounted.is_ok_and(|status| status.success()) {
            let _ = fs::remove_dir(&self.folder);
        }
    }
}
