//! The account (the user and group of the operating system) that a private server runs as.
//!
//! PostgreSQL refuses to run as root, and nothing that a test starts needs root. If a test runs as
//! root, the server runs as the user that its package created, or else as `nobody`. If a test does
//! not run as root, the server runs as the user of the test.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ServerError;

/// The account that owns a server, its folder, and the keeper (the process that removes the
/// folder).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// The test does not run as root: everything runs as the test's own user.
    Ourselves,
    /// The test runs as root: the server runs as this user and group, without supplementary groups.
    Other {
        /// The user's number.
        uid: u32,
        /// The id of the user's primary group.
        gid: u32,
    },
}

impl Account {
    /// Returns the account for a server whose packages create the user `preferred`.
    ///
    /// # Errors
    /// When the test runs as root and neither that user nor `nobody` exists.
    pub fn for_server(preferred: &str) -> Result<Account, ServerError> {
        if id(&["-u"]) != Some(0) {
            return Ok(Account::Ourselves);
        }
        [preferred, "nobody"]
            .into_iter()
            .filter_map(|name| Some((id(&["-u", name])?, id(&["-g", name])?)))
            .find(|(uid, _)| *uid != 0)
            .map(|(uid, gid)| Account::Other { uid, gid })
            .ok_or_else(|| ServerError::Command {
                doing: "choosing an unprivileged user".to_owned(),
                output: format!(
                    "the test runs as root, and the users {preferred} and nobody do not exist"
                ),
            })
    }

    /// Makes `command` run as this account.
    pub fn apply(self, command: &mut Command) {
        match self {
            Account::Ourselves => {}
            // If the process is root, the standard library also drops the supplementary groups
            // when it changes the user.
            Account::Other { uid, gid } => {
                command.uid(uid).gid(gid);
            }
        }
    }

    /// Makes this account the owner of `path`.
    ///
    /// # Errors
    /// When the operating system refuses the change.
    pub fn own(self, path: &Path) -> Result<(), ServerError> {
        match self {
            Account::Ourselves => Ok(()),
            Account::Other { uid, gid } => chown(path, Some(uid), Some(gid)).map_err(
                ServerError::io(format!("changing the owner of {}", path.display())),
            ),
        }
    }

    /// Returns the parent of this account's temporary folders. This is the system's temporary
    /// folder, or `/tmp` if only root can enter that folder.
    pub fn temporary(self) -> PathBuf {
        let usual = std::env::temp_dir();
        match self {
            Account::Other { .. } if !is_open_to_all(&usual) => PathBuf::from("/tmp"),
            Account::Other { .. } | Account::Ourselves => usual,
        }
    }
}

fn is_open_to_all(folder: &Path) -> bool {
    let mode = |path: &Path| {
        path.metadata()
            .map(|data| data.permissions().mode())
            .unwrap_or(0)
    };
    mode(folder) & 0o003 == 0o003 && folder.ancestors().all(|parent| mode(parent) & 0o001 != 0)
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
