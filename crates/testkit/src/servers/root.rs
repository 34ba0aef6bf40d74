//! Servers of another generation, from another root: a folder with a whole system in it.
//!
//! A program of another root finds its libraries, its plugins and its users there, so it runs in
//! that root (`chroot`), in a mount namespace of its own that ends with it, and in which the
//! temporary folder is where it is outside. Needs root and Linux. Debian's `debootstrap` makes one:
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

/// The variable that names the folder.
const VARIABLE: &str = "HOOKBOX_TEST_ROOT";

/// Notes the own id, then becomes the program in the other root. `$0` is the folder that it lives
/// in, `$1` how to be ended, `$2` the root, `$3` the user and group. What is mounted is seen by
/// this process and its children alone, also the disks that tests have mounted in the temporary
/// folder. What is to be loaded into the program is not in `chroot`, and the program does not get
/// the semaphore that libfaketime of this root made: it would wait for it without end.
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

/// A folder with a whole system in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    path: PathBuf,
}

impl Root {
    /// The one that the environment names, if it names one.
    ///
    /// # Errors
    /// When there is no system in it, or we may not use it.
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
                output: "only root may: it takes chroot and mount".to_owned(),
            }),
        }
    }

    /// Where a path of it is outside.
    pub fn outside(&self, path: &Path) -> PathBuf {
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// What a path outside is in it.
    pub fn inside(&self, path: &Path) -> Option<PathBuf> {
        Some(Path::new("/").join(path.strip_prefix(&self.path).ok()?))
    }

    /// A command that runs a program of it as root, for a question about itself.
    pub fn ask(&self, program: &Path) -> Command {
        let mut command = Command::new("chroot");
        command.arg(&self.path).arg(program);
        command
    }

    /// A command that notes itself in `folder`, and becomes a program of it.
    pub fn launch(&self, folder: &Path, word: &str, account: Account, program: &Path) -> Command {
        let user = match account {
            Account::Other { uid, gid } => format!("{uid}:{gid}"),
            // Not reached: only root has another root.
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

    /// The account of a user of it.
    ///
    /// # Errors
    /// When it has no such user.
    pub fn account(&self, name: &str) -> Result<Account, ServerError> {
        let users = self.users()?;
        let account = account(&users, name);
        account.ok_or_else(|| ServerError::Command {
            doing: format!("looking for user {name} of {}", self.path.display()),
            output: "its etc/passwd has none".to_owned(),
        })
    }

    fn users(&self) -> Result<String, ServerError> {
        let path = self.outside(Path::new("/etc/passwd"));
        let doing = format!("reading the users of {VARIABLE}, {}", path.display());
        fs::read_to_string(path).map_err(ServerError::io(doing))
    }
}

/// A user's numbers, from the lines of a `passwd` file.
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
