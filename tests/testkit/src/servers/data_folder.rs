//! The data folder of a private PostgreSQL. It is made by `initdb`, or it is a copy of a folder
//! that is prepared once for many servers. A copy takes a sixth of the processor time of `initdb`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::find::{self, Postgres};
use super::folder::{Ending, Folder};
use super::process::run;
use super::{ServerError, ports};

/// The subfolder with the data.
const DATA: &str = "data";

/// The file with the superuser's password, from which `initdb` reads it.
const PASSWORD: &str = "password";

/// The environment variable that names the prepared folder. Without it, each server runs `initdb`.
pub const PREPARED: &str = "HOOKBOX_TEST_POSTGRES_PREPARED";

/// The file in the prepared folder that contains the path of the PostgreSQL programs with which the
/// folder was made.
const PROGRAMS: &str = "programs";

/// A prepared data folder. It is removed when this value is dropped.
#[derive(Debug)]
pub struct Prepared {
    folder: Folder,
}

impl Prepared {
    /// Prepares a data folder of the newest PostgreSQL of this machine.
    ///
    /// # Errors
    /// When no PostgreSQL is new enough, or `initdb` fails.
    pub fn make() -> Result<Prepared, ServerError> {
        let found = find::postgres()?;
        let folder = Folder::for_server("prepared", "postgres", found.root.as_ref())?;
        initialise(&found, &folder)?;
        folder.write(PROGRAMS, &found.programs.display().to_string())?;
        Ok(Prepared { folder })
    }

    /// Returns the path of the folder, which is the value of [`PREPARED`].
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Makes the data of a server in its folder. Returns the superuser's password.
pub(super) fn make(found: &Postgres, folder: &Folder) -> Result<String, ServerError> {
    match copy(found, folder)? {
        Some(password) => Ok(password),
        None => initialise(found, folder),
    }
}

/// Copies the prepared data folder into the folder of a server. Returns the superuser's password,
/// or `None` if no folder is prepared for this PostgreSQL.
fn copy(found: &Postgres, folder: &Folder) -> Result<Option<String>, ServerError> {
    let Some(prepared) = env::var_os(PREPARED).map(PathBuf::from) else {
        return Ok(None);
    };
    let read = |name: &str| {
        let path = prepared.join(name);
        fs::read_to_string(&path).map_err(ServerError::io(format!("reading {}", path.display())))
    };
    // A PostgreSQL in another root folder cannot read the prepared folder.
    if found.root.is_some() || read(PROGRAMS)? != found.programs.display().to_string() {
        return Ok(None);
    }
    let mut command = folder.launch(Path::new("cp"), Ending::Kill);
    command
        .args(["-R", "-p"])
        .arg(prepared.join(DATA))
        .arg(folder.path().join(DATA));
    run(folder, "copying PostgreSQL's data folder", command)?;
    read(PASSWORD).map(Some)
}

/// Makes the data of a server with `initdb`. Returns the superuser's password.
fn initialise(found: &Postgres, folder: &Folder) -> Result<String, ServerError> {
    let password = ports::random_name().map_err(ServerError::io("choosing a password"))?;
    let secret = folder.write(PASSWORD, &password)?;
    let mut command = folder.launch(&found.programs.join("initdb"), Ending::Kill);
    command
        .arg("--pgdata")
        .arg(folder.path().join(DATA))
        .arg("--pwfile")
        .arg(&secret)
        // The server listens only on the loopback interface and asks for a plain-text password.
        // Checking such a password takes little time, which matters for the many connections of
        // debug builds. Other users of the machine do not know the password.
        .args(["--auth=password", "--username=postgres"])
        .args(["--encoding=UTF8", "--locale=C"])
        // `initdb` need not sync the files that it makes, because the folder is removed at the end
        // of the run. What the server writes later is synced.
        .arg("--no-sync")
        .env("LC_ALL", "C");
    run(folder, "preparing PostgreSQL's data folder", command)?;
    Ok(password)
}
