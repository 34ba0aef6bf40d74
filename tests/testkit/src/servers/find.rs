//! Finds PostgreSQL and RabbitMQ on this machine, and checks that they are new enough.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ServerError;
use super::root::Root;

/// The oldest major version of PostgreSQL that the project supports.
pub const POSTGRES_MIN: Version = Version(15, 0, 0);

/// The oldest version of RabbitMQ whose quorum queues have everything that hookbox needs.
pub const RABBITMQ_MIN: Version = Version(3, 10, 0);

/// The text in an error for a server that is missing: its name and its oldest usable version.
const POSTGRES_WANTED: &str = "PostgreSQL 15 or newer";
const RABBITMQ_WANTED: &str = "RabbitMQ 3.10 or newer";

/// The environment variable that forbids tests to start servers. `cargo xtask test --fast` sets it.
/// Then a test fails if it needs a server and `crates/xtask/src/needs.rs` does not say so.
const NO_SERVERS: &str = "HOOKBOX_TEST_NO_SERVERS";

/// A version with three parts. A part that is not given is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)?;
        if self.2 > 0 {
            write!(f, ".{}", self.2)
        } else {
            Ok(())
        }
    }
}

impl Version {
    /// Parses the leading digits and dots of a text such as `15.18 (Debian …)`, `3.10.8`,
    /// `4.1.0-rc.1` or `18beta1`.
    pub fn parse(text: &str) -> Option<Version> {
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let mut parts = text[..end].split('.').map(|part| part.parse().unwrap_or(0));
        let major = text[..end]
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| parts.next())??;
        Some(Version(
            major,
            parts.next().unwrap_or(0),
            parts.next().unwrap_or(0),
        ))
    }
}

/// A PostgreSQL that was found on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postgres {
    /// The folder with `postgres` and `initdb`.
    pub programs: PathBuf,
    /// The version of the server.
    pub version: Version,
    /// The other root folder that this PostgreSQL is installed in; `None` if it is installed on
    /// this machine.
    pub root: Option<Root>,
}

/// A RabbitMQ that was found on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rabbitmq {
    /// The folder with RabbitMQ's original scripts. The scripts of a distribution, which call them,
    /// run them as another user.
    pub scripts: PathBuf,
    /// The program `epmd`, Erlang's port mapper.
    pub epmd: PathBuf,
    /// The version of the server.
    pub version: Version,
    /// The other root folder that this RabbitMQ is installed in; `None` if it is installed on this
    /// machine.
    pub root: Option<Root>,
}

/// Finds the newest PostgreSQL of this machine. If another root folder is named ([`Root::named`]),
/// finds the newest one in that folder instead.
///
/// # Errors
/// [`ServerError::Missing`], with the versions that were found and are too old.
pub fn postgres() -> Result<Postgres, ServerError> {
    allowed(env::var_os(NO_SERVERS))?;
    let root = Root::named()?;
    let found = match &root {
        Some(root) => postgres_in(root),
        None => postgres_here(),
    };
    newest(found, POSTGRES_WANTED, POSTGRES_MIN, |it| {
        (it.version, &it.programs)
    })
}

fn postgres_in(root: &Root) -> Vec<Postgres> {
    let folders = matching(root.outside(Path::new("/usr/lib/postgresql")), "", "bin");
    let found = folders.into_iter().filter_map(|programs| {
        let programs = root.inside(&programs)?;
        let mut ask = root.ask(&programs.join("postgres"));
        let version = answer(ask.arg("--version"))?;
        let version = version.split_whitespace().find_map(Version::parse)?;
        Some(Postgres {
            programs,
            version,
            root: Some(root.clone()),
        })
    });
    found.collect()
}

fn postgres_here() -> Vec<Postgres> {
    let mut folders = matching("/usr/lib/postgresql", "", "bin");
    folders.extend(matching("/usr", "pgsql-", "bin"));
    folders.extend(matching("/usr/libexec", "postgresql", ""));
    folders.push(PathBuf::from("/usr/local/pgsql/bin"));
    folders.extend(matching("/opt/homebrew/opt", "postgresql", "bin"));
    folders.extend(matching("/usr/local/opt", "postgresql", "bin"));
    folders.extend(on_path("postgres").into_iter().filter_map(parent_of_real));
    folders.extend(said_by("pg_config", "--bindir").map(PathBuf::from));
    let found = folders.into_iter().filter_map(|programs| {
        let both = programs.join("initdb").exists() && programs.join("postgres").exists();
        let text = both.then(|| said_by(programs.join("postgres"), "--version"))??;
        let version = text.split_whitespace().find_map(Version::parse)?;
        Some(Postgres {
            programs,
            version,
            root: None,
        })
    });
    found.collect()
}

/// Finds the newest RabbitMQ of this machine, and Erlang's port mapper. If another root folder is
/// named ([`Root::named`]), finds both in that folder instead.
///
/// # Errors
/// [`ServerError::Missing`], with the versions that were found and are too old.
pub fn rabbitmq() -> Result<Rabbitmq, ServerError> {
    allowed(env::var_os(NO_SERVERS))?;
    let root = Root::named()?;
    let found = match &root {
        Some(root) => rabbitmq_in(root),
        None => rabbitmq_here(),
    };
    newest(found, RABBITMQ_WANTED, RABBITMQ_MIN, |it| {
        (it.version, &it.scripts)
    })
}

fn rabbitmq_in(root: &Root) -> Vec<Rabbitmq> {
    let folder = root.outside(Path::new("/usr/lib/rabbitmq/lib"));
    let folders = matching(folder, "rabbitmq_server-", "sbin");
    let found = folders.into_iter().filter_map(|scripts| {
        Some(Rabbitmq {
            version: rabbitmq_version(&scripts)?,
            scripts: root.inside(&scripts)?,
            epmd: PathBuf::from("/usr/bin/epmd"),
            root: Some(root.clone()),
        })
    });
    found.collect()
}

fn rabbitmq_here() -> Vec<Rabbitmq> {
    let Some(epmd) = epmd() else {
        return Vec::new();
    };
    let mut folders = matching("/usr/lib/rabbitmq/lib", "rabbitmq_server-", "sbin");
    folders.extend(matching(
        "/usr/lib64/rabbitmq/lib",
        "rabbitmq_server-",
        "sbin",
    ));
    folders.extend(matching("/opt", "rabbitmq", "sbin"));
    folders.extend(matching("/opt/homebrew/opt", "rabbitmq", "sbin"));
    folders.extend(matching("/usr/local/opt", "rabbitmq", "sbin"));
    folders.extend(
        on_path("rabbitmq-server")
            .into_iter()
            .filter_map(parent_of_real),
    );
    let found = folders.into_iter().filter_map(|scripts| {
        // A folder without `rabbitmq-env` is skipped, because it has only the wrapper scripts of a
        // distribution.
        scripts.join("rabbitmq-env").exists().then_some(())?;
        let version = rabbitmq_version(&scripts)?;
        Some(Rabbitmq {
            scripts,
            epmd: epmd.clone(),
            version,
            root: None,
        })
    });
    found.collect()
}

/// Finds a PgBouncer of any version on this machine.
///
/// # Errors
/// [`ServerError::Missing`] when there is no PgBouncer.
pub fn pgbouncer() -> Result<PathBuf, ServerError> {
    allowed(env::var_os(NO_SERVERS))?;
    missing_without(on_path("pgbouncer").into_iter().next(), "PgBouncer")
}

/// Finds an nginx of any version on this machine.
///
/// # Errors
/// [`ServerError::Missing`] when there is no nginx.
pub fn nginx() -> Result<PathBuf, ServerError> {
    allowed(env::var_os(NO_SERVERS))?;
    // On some systems, the folder of nginx is not on the search path of ordinary users, so this
    // folder is searched as well.
    let usual = PathBuf::from("/usr/sbin/nginx");
    let usual = usual.exists().then_some(usual);
    missing_without(on_path("nginx").into_iter().next().or(usual), "nginx")
}

/// Finds the library that shifts the clock of a process when it is loaded into the process
/// (`LD_PRELOAD`).
///
/// # Errors
/// [`ServerError::Missing`] when the library is not installed.
pub fn faketime() -> Result<PathBuf, ServerError> {
    // This is the variant of libfaketime for programs with several threads.
    let mut places = matching("/usr/lib", "", "faketime/libfaketimeMT.so.1");
    places.extend(matching("/usr", "lib", "faketime/libfaketimeMT.so.1"));
    let homebrew = "faketime/libfaketimeMT.1.dylib";
    places.extend(matching("/opt/homebrew", "lib", homebrew));
    places.extend(matching("/usr/local", "lib", homebrew));
    missing_without(places.into_iter().next(), "libfaketime")
}

/// Fails when [`NO_SERVERS`] forbids tests to start servers.
fn allowed(no_servers: Option<OsString>) -> Result<(), ServerError> {
    if no_servers.is_none_or(|value| value.is_empty()) {
        return Ok(());
    }
    Err(ServerError::Command {
        doing: "starting a server".to_owned(),
        output: format!("{NO_SERVERS} is set, so no test of this run may start a server"),
    })
}

fn missing_without<T>(found: Option<T>, wanted: &'static str) -> Result<T, ServerError> {
    found.ok_or(ServerError::Missing {
        wanted,
        too_old: Vec::new(),
    })
}

fn newest<T>(
    found: Vec<T>,
    wanted: &'static str,
    oldest: Version,
    about: impl Fn(&T) -> (Version, &PathBuf),
) -> Result<T, ServerError> {
    let mut too_old: Vec<String> = found
        .iter()
        .map(&about)
        .filter(|(version, _)| *version < oldest)
        .map(|(version, place)| format!("{version} in {}", place.display()))
        .collect();
    too_old.dedup();
    let newest = found.into_iter().max_by_key(|it| about(it).0);
    newest
        .filter(|it| about(it).0 >= oldest)
        .ok_or(ServerError::Missing { wanted, too_old })
}

/// Reads the version of RabbitMQ from the name of a folder of its code, such as `rabbit-4.0.5`.
/// RabbitMQ itself prints its version only after it has started Erlang, which is slow.
fn rabbitmq_version(scripts: &Path) -> Option<Version> {
    let plugins = scripts.parent()?.join("plugins");
    let names = fs::read_dir(plugins)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| Version::parse(name.strip_prefix("rabbit-")?))
        .max()
}

fn epmd() -> Option<PathBuf> {
    let mut places = on_path("epmd");
    for root in [
        "/usr/lib/erlang",
        "/usr/lib64/erlang",
        "/usr/local/lib/erlang",
        "/opt/erlang/lib/erlang",
    ] {
        places.extend(matching(root, "erts-", "bin/epmd"));
    }
    places.into_iter().find(|place| place.exists())
}

/// Returns every path `{root}/{prefix}*/{inside}` that exists; `*` is the rest of a folder's name.
fn matching(root: impl AsRef<Path>, prefix: &str, inside: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(inside))
        .filter(|path| path.exists())
        .collect()
}

/// Returns every program with this name on the search path and in the folders of system programs.
fn on_path(program: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .filter(|place| place.is_file())
        .collect()
}

fn parent_of_real(program: PathBuf) -> Option<PathBuf> {
    Some(program.canonicalize().ok()?.parent()?.to_owned())
}

fn said_by(program: impl AsRef<std::ffi::OsStr>, argument: &str) -> Option<String> {
    answer(Command::new(program).arg(argument))
}

fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn versions_as_the_servers_write_them() {
        let read = |text: &str| Version::parse(text);
        assert_eq!(read("15.18"), Some(Version(15, 18, 0)));
        assert_eq!(read("3.10.8"), Some(Version(3, 10, 8)));
        assert_eq!(read("4.1.0-rc.1"), Some(Version(4, 1, 0)));
        assert_eq!(read("18beta1"), Some(Version(18, 0, 0)));
        assert_eq!(read("(PostgreSQL)"), None);
        assert_eq!(read(".5"), None);
        assert_eq!(read(""), None);
        assert!(Version(3, 9, 27) < RABBITMQ_MIN);
        assert!(Version(4, 0, 0) > RABBITMQ_MIN);
    }

    #[test]
    fn the_newest_wins_and_the_old_are_named() {
        let there = |version| Postgres {
            programs: PathBuf::from("/p"),
            version,
            root: None,
        };
        let choose = |versions: Vec<Version>| {
            let found = versions.into_iter().map(there).collect();
            newest(found, POSTGRES_WANTED, POSTGRES_MIN, |it| {
                (it.version, &it.programs)
            })
        };
        let chosen = choose(vec![
            Version(15, 2, 0),
            Version(17, 1, 0),
            Version(14, 9, 0),
        ])
        .unwrap();
        assert_eq!(chosen.version, Version(17, 1, 0));
        let error = choose(vec![Version(14, 9, 0)]).unwrap_err().to_string();
        assert_eq!(
            error,
            "PostgreSQL 15 or newer is needed; these versions are too old: 14.9 in /p"
        );
        let error = choose(vec![]).unwrap_err().to_string();
        assert_eq!(error, "PostgreSQL 15 or newer is not on this machine");
    }
    #[test]
    fn no_server_is_found_in_a_run_of_tests_that_need_none() {
        assert!(allowed(None).is_ok());
        assert!(allowed(Some("".into())).is_ok());
        let error = allowed(Some("1".into())).unwrap_err().to_string();
        assert!(error.contains(NO_SERVERS), "{error}");
    }
}
