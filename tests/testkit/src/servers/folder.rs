//! A temporary folder with a keeper process. Its owner is the process that made it. However the
//! owner ends, the keeper then ends the processes that use the folder, and removes the folder.
//!
//! The keeper is a small shell process that reads from a pipe. Only the owner holds the writing end
//! of the pipe. The kernel closes that end when the owner ends, whether by a normal exit, a panic,
//! Ctrl-C or SIGKILL. So the keeper always notices the end of the owner, and the owner need not
//! handle signals. Each server process writes its id into the folder before it becomes the program,
//! so the keeper knows the process from the start. The keeper runs as the user that owns the
//! folder, so it can end only processes of that user.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::ServerError;
use super::account::Account;
use super::ports::random_name;
use super::root::Root;

/// The subfolder in which each process registers itself with a file. The name of the file is the
/// process id. Its content says how the keeper must end the process.
const PROCESSES: &str = "processes";

/// The shell script of the keeper, the process that removes the folder. `$1` is the folder. When
/// the owner has ended, the keeper ends the processes, and waits at most ten seconds for them; in
/// the last five seconds it uses SIGKILL.
const KEEPER: &str = r#"
folder=$1
trap '' INT HUP TERM
each() {
    for file in "$folder"/processes/*; do
        [ -f "$file" ] || continue
        ending=$(cat "$file") 2>/dev/null
        "$1" "${file##*/}" "$ending"
    done
}
end() {
    case $2 in
        QUIT) kill -s QUIT "$1" ;;
        *) kill -s KILL -- "-$1" || kill -s KILL "$1" ;;
    esac 2>/dev/null
}
end_now() { kill -s KILL "$1" 2>/dev/null; }
look() {
    kill -0 "$1" 2>/dev/null || return
    # A zombie (ended, and not waited for) still exists by id.
    case $(cat "/proc/$1/stat" 2>/dev/null) in *") Z "*) return ;; esac
    alive=yes
}
any_alive() { alive=; each look; [ -n "$alive" ]; }

read -r word
if [ "$word" = keep ]; then
    trap 'word=' TERM
    while [ "$word" = keep ] && any_alive; do sleep 1; done
    trap '' TERM
fi
each end
tries=0
while any_alive && [ "$tries" -lt 100 ]; do
    tries=$((tries + 1))
    if [ "$tries" -eq 50 ]; then each end_now; fi
    sleep 0.1
done
rm -rf -- "$folder" || { sleep 1; rm -rf -- "$folder"; }
"#;

/// The shell script that registers its process id in the folder and then becomes the program. `$0`
/// is the folder, and `$1` says how the keeper must end the process.
const LAUNCH: &str = r#"echo "$1" >"$0/processes/$$" && shift && exec "$@""#;

/// How a folder's keeper ends a process of the folder that is still running when the owner of the
/// folder has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Send SIGQUIT to the process, and SIGKILL five seconds later if it still runs. On SIGQUIT,
    /// PostgreSQL ends its own children at once.
    Quit,
    /// Send SIGKILL to the process and its process group.
    Kill,
}

impl Ending {
    fn word(self) -> &'static str {
        match self {
            Ending::Quit => "QUIT",
            Ending::Kill => "KILL",
        }
    }
}

/// A private folder with mode 0700, and all processes that run in it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    account: Account,
    /// The other root folder from which the programs are run, or `None` for programs of this
    /// machine.
    root: Option<Root>,
    keeper: Child,
}

impl Folder {
    /// Makes a folder whose name begins with `hookbox-{name}-`, and starts its keeper, the process
    /// that removes the folder when the owner has ended.
    ///
    /// # Errors
    /// When the operating system refuses an operation.
    pub fn new(name: &str, account: Account) -> Result<Folder, ServerError> {
        let random = random_name().map_err(ServerError::io("choosing a name"))?;
        let path = account
            .temporary()
            .join(format!("hookbox-{name}-{}", &random[..12]));
        let made = make(&path, account).and_then(|()| keep(&path, account));
        match made {
            Ok(keeper) => Ok(Folder {
                path,
                account,
                root: None,
                keeper,
            }),
            Err(error) => {
                // The keeper could not be started, so the folder is removed here.
                let _ = fs::remove_dir_all(&path);
                Err(error)
            }
        }
    }

    /// Makes a folder for a server. The folder belongs to the account of `user`. If the server is
    /// installed in another root folder (`root`), this is the user of that root.
    ///
    /// # Errors
    /// When there is no such user, or the operating system refuses an operation.
    pub fn for_server(name: &str, user: &str, root: Option<&Root>) -> Result<Folder, ServerError> {
        let account = match root {
            Some(root) => root.account(user)?,
            None => Account::for_server(user)?,
        };
        let mut folder = Folder::new(name, account)?;
        folder.root = root.cloned();
        Ok(folder)
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a subfolder that belongs to the account of the folder.
    ///
    /// # Errors
    /// When the operating system refuses an operation.
    pub fn subfolder(&self, name: &str) -> Result<PathBuf, ServerError> {
        let path = self.path.join(name);
        fs::create_dir(&path).map_err(ServerError::io(format!("making {}", path.display())))?;
        self.account.own(&path)?;
        Ok(path)
    }

    /// Writes a file in the folder, which only the account of the folder can read.
    ///
    /// # Errors
    /// When the operating system refuses an operation.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf, ServerError> {
        let path = self.path.join(name);
        let doing = || format!("writing {}", path.display());
        fs::write(&path, content).map_err(ServerError::io(doing()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .map_err(ServerError::io(doing()))?;
        self.account.own(&path)?;
        Ok(path)
    }

    /// Returns a command that runs `program` in this folder as the folder's account. The command
    /// has no input, and its only environment variable is the search path. The keeper ends the
    /// process if the folder's owner does not.
    pub fn launch(&self, program: &Path, ending: Ending) -> Command {
        let mut command = match &self.root {
            Some(root) => {
                let mut command = root.launch(&self.path, ending.word(), self.account, program);
                command.process_group(0);
                command
            }
            None => {
                let mut command = self.watched(program, ending);
                self.account.apply(&mut command);
                command
            }
        };
        self.confine(&mut command);
        command
    }

    /// Returns a command that runs `program` as the current user in the current folder. The
    /// process has its own process group, so that Ctrl-C in a terminal does not reach it. The
    /// keeper ends the process if the folder's owner does not.
    pub fn watched(&self, program: &Path, ending: Ending) -> Command {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(LAUNCH)
            .arg(&self.path)
            .arg(ending.word())
            .arg(program);
        command.process_group(0);
        command
    }

    fn confine(&self, command: &mut Command) {
        command
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .env_clear();
        command.env("PATH", search_path());
    }

    /// Removes the record of a process that has ended and was waited for. The system may give its
    /// id to another process now, which the keeper must not end.
    pub fn forget(&self, process: u32) {
        let _ = fs::remove_file(self.path.join(PROCESSES).join(process.to_string()));
    }

    /// Returns whether the folder is removed when this value is dropped. After [`Folder::keep`] it
    /// is not removed.
    pub fn is_ours(&self) -> bool {
        self.keeper.stdin.is_some()
    }

    /// Leaves all processes of the folder running when the owner ends. Returns the process id of
    /// the keeper. A SIGTERM to the keeper ends all processes and removes the folder.
    ///
    /// # Errors
    /// When the keeper has ended.
    pub fn keep(&mut self) -> Result<u32, ServerError> {
        let pipe = self.keeper.stdin.as_mut();
        pipe.map_or_else(
            || Err(std::io::ErrorKind::BrokenPipe.into()),
            |pipe| pipe.write_all(b"keep\n"),
        )
        .map_err(ServerError::io("instructing the keeper to keep the folder"))?;
        // The pipe is taken out of the keeper's handle. Without a pipe, `drop` neither ends the
        // processes of the folder nor waits for them.
        drop(self.keeper.stdin.take());
        Ok(self.keeper.id())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(pipe) = self.keeper.stdin.take() {
            drop(pipe);
            let _ = self.keeper.wait();
        }
    }
}

fn make(path: &Path, account: Account) -> Result<(), ServerError> {
    let doing = || format!("making {}", path.display());
    fs::create_dir(path).map_err(ServerError::io(doing()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .map_err(ServerError::io(doing()))?;
    let processes = path.join(PROCESSES);
    fs::create_dir(&processes).map_err(ServerError::io(doing()))?;
    account.own(&processes)?;
    account.own(path)
}

fn keep(path: &Path, account: Account) -> Result<Child, ServerError> {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(KEEPER)
        .arg("hookbox-keeper")
        .arg(path);
    account.apply(&mut command);
    command
        .current_dir("/")
        .env_clear()
        .env("PATH", search_path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(ServerError::io("starting a keeper"))
}

/// Returns the current search path with the folders of system programs, which the path of an
/// unprivileged user may lack.
fn search_path() -> String {
    let ours = std::env::var("PATH").unwrap_or_default();
    format!("{ours}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
}
