//! Who a private server runs as.
//!
//! PostgreSQL refuses to run as root, and nothing that a test starts needs to: when we are root,
//! the server's own account is used, else `nobody`. Otherwise it is simply us.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ServerError;

/// The account that a server, its keeper and its folder belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// We are not root: everything runs as us.
    Ourselves,
    /// We are root: it runs as this user and group, without any other group.
    Other {
        /// The user's number.
        uid: u32,
        /// The number of the user's own group.
        gid: u32,
    },
}

impl Account {
    /// The account for a server whose packages create the user `preferred`.
    ///
    /// # Errors
    /// When we are root and neither that user nor `nobody` exists.
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
                output: format!("we are root, and there is neither {preferred} nor nobody"),
            })
    }

    /// Makes `command` run as this account.
    pub fn apply(self, command: &mut Command) {
        match self {
            Account::Ourselves => {}
            // As root the standard library drops the supplementary groups along with the user.
            Account::Other { uid, gid } => {
                command.uid(uid).gid(gid);
            }
        }
    }

    /// Gives `path` to this account.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn own(self, path: &Path) -> Result<(), ServerError> {
        match self {
            Account::Ourselves => Ok(()),
            Account::Other { uid, gid } => chown(path, Some(uid), Some(gid)).map_err(
                ServerError::io(format!("giving {} to its user", path.display())),
            ),
        }
    }

    /// Where this account's temporary folders go: the system's temporary folder, unless that one
    /// is root's private one.
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
