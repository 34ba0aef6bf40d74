//! Servers of another version, which are run from another root folder. Such a folder contains a
//! whole Linux system.
//!
//! A program needs the libraries, plugins and users of its own system, so it runs with that folder
//! as its root (`chroot`). It has a mount namespace of its own, which ends with the program. In
//! this namespace, the temporary folder of this machine has its usual path. This needs root and
//! Linux. Debian's `debootstrap` makes such a folder:
//!
//! ```text
//! debootstrap --variant=minbase --include=rabbitmq-server,postgresql-17,libfaketime trixie FOLDER
//! HOOKBOX_TEST_ROOT=FOLDER cargo xtask test
//! ```

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ServerError;
use super::account::Account;

/// The environment variable that names the root folder.
const VARIABLE: &str = "HOOKBOX_TEST_ROOT";

/// The shell script that registers its process id and then becomes the program in the other root.
/// `$0` is the folder of the server, `$1` says how the keeper of this folder must end the process,
/// `$2` is the root folder, and `$3` is the user and group. Only this process and its children see
/// what is mounted here, including the disks that tests have mounted in the temporary folder.
/// `LD_PRELOAD` is set for the program only, because `chroot` must not load the library that it
/// names. `FAKETIME_SHARED` is removed: it names a semaphore of the libfaketime of this machine,
/// and the program would wait for that semaphore for ever.
const LAUNCH: &str = r#"
echo "$1" >"$0/processes/$$" || exit
root=$2 user=$3 parent=${0%/*} preload=$LD_PRELOAD
unset LD_PRELOAD FAKETIME_SHARED
shift 3
mkdir -p "$root$parent" && mount --rbind "$parent" "$root$parent" &&
    mount --rbind /proc "$root/proc" && mount --rbind /dev "$root/dev" || exit
[ -e "$root/etc/hosts" ] || : >"$root/etc/hosts"
mount --bind /etc/hosts "$root/etc/hosts" || exit
exec chroot --userspec="$user" --groups= "$root" \
    env -C "$0" ${preload:+"LD_PRELOAD=$preload"} "$@"
"#;

/// A folder that contains a whole Linux system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    path: PathBuf,
}

impl Root {
    /// Returns the root that the environment names, if it names one.
    ///
    /// # Errors
    /// When the folder contains no system, or the test does not run as root.
    pub fn named() -> Result<Option<Root>, ServerError> {
        let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        let path = fs::canonicalize(&path).map_err(ServerError::io(format!(
            "finding {VARIABLE}={}",
            Path::new(&path).display()
        )))?;
        let root = Root { path };
        root.users()?;
        let ours = Account::for_server("nobody")?;
        match ours {
            Account::Other { .. } => Ok(Some(root)),
            Account::Ourselves => Err(ServerError::Command {
                doing: format!("running servers from {VARIABLE}"),
                output: "the test must run as root, because it uses chroot and mount".to_owned(),
            }),
        }
    }

    /// Returns the path on this machine of a path in this root.
    pub fn outside(&self, path: &Path) -> PathBuf {
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Returns the path that a path on this machine has in this root; `None` if it lies outside.
    pub fn inside(&self, path: &Path) -> Option<PathBuf> {
        Some(Path::new("/").join(path.strip_prefix(&self.path).ok()?))
    }

    /// Returns a command that runs a program of this root as the user root, for example to print
    /// its version.
    pub fn ask(&self, program: &Path) -> Command {
        let mut command = Command::new("chroot");
        command.arg(&self.path).arg(program);
        command
    }

    /// Returns a command that registers its process in `folder` and then becomes a program of this
    /// root. `word` says how the folder's keeper must end the process.
    pub fn launch(&self, folder: &Path, word: &str, account: Account, program: &Path) -> Command {
        let user = match account {
            Account::Other { uid, gid } => format!("{uid}:{gid}"),
            // This case never occurs: only a test that runs as root can use another root folder,
            // and its account is `Other`.
            Account::Ourselves => "0:0".to_owned(),
        };
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", LAUNCH])
            .arg(folder)
            .arg(word)
            .arg(&self.path)
            .arg(user)
            .arg(program);
        command
    }

    /// Returns the user and group ids of a user that exists in this root.
    ///
    /// # Errors
    /// When this root has no such user.
    pub fn account(&self, name: &str) -> Result<Account, ServerError> {
        let users = self.users()?;
        let account = account(&users, name);
        account.ok_or_else(|| ServerError::Command {
            doing: format!(
                "looking for user {name} in the root folder {}",
                self.path.display()
            ),
            output: "the file etc/passwd of this root has no such user".to_owned(),
        })
    }

    fn users(&self) -> Result<String, ServerError> {
        let path = self.outside(Path::new("/etc/passwd"));
        let doing = format!(
            "reading the users of the root folder that {VARIABLE} names, {}",
            path.display()
        );
        fs::read_to_string(path).map_err(ServerError::io(doing))
    }
}

/// Returns the user id and group id of a user, from the lines of a `passwd` file.
fn account(users: &str, name: &str) -> Option<Account> {
    let line = users
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut numbers = line.split(':').skip(2).map(str::parse);
    let (uid, gid) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(Account::Other { uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/bash\nrabbitmq2:x:7:8::/:/bin/false\n\
                     rabbitmq:x:103:106:RabbitMQ,,,:/var/lib/rabbitmq:/usr/sbin/nologin\nbad:x:\n";
        let expected = Account::Other { uid: 103, gid: 106 };
        assert_eq!(account(users, "rabbitmq"), Some(expected));
        assert_eq!(account(users, "bad"), None);
        assert_eq!(account(users, "postgres"), None);
    }

    #[test]
    fn paths_are_distinguished() {
        let root = Root {
            path: PathBuf::from("/srv/trixie"),
        };
        let outside = root.outside(Path::new("/usr/bin/epmd"));
        assert_eq!(outside, Path::new("/srv/trixie/usr/bin/epmd"));
        assert_eq!(
            root.inside(&outside).as_deref(),
            Some(Path::new("/usr/bin/epmd"))
        );
        assert_eq!(root.inside(Path::new("/usr/bin/epmd")), None);
    }
}
