//! Finds Python and Node.js, with which tests run libraries of other languages.

use std::process::{Command, Stdio};

use super::ServerError;
use super::find::Version;

/// The oldest major version of Node.js that the tests use.
const NODE_MIN: Version = Version(18, 0, 0);

/// Checks that this machine has Python 3 with the modules that make virtual environments.
///
/// # Errors
/// [`ServerError::Missing`] when Python 3 or one of the modules is missing.
pub fn python() -> Result<(), ServerError> {
    // Debian has these modules in a separate package, so Python may be installed without them.
    let has_modules = output("python3", &["-c", "import venv, ensurepip"]).is_some();
    found(has_modules, "Python 3 with the module venv", Vec::new())
}

/// Checks that this machine has Node.js and npm.
///
/// # Errors
/// [`ServerError::Missing`] when one of them is missing, or Node.js is too old.
pub fn node() -> Result<(), ServerError> {
    let text = output("node", &["--version"]);
    let version = text.and_then(|text| Version::parse(text.trim().trim_start_matches('v')));
    let is_new = version.is_some_and(|version| version >= NODE_MIN);
    let too_old = version.filter(|_| !is_new).map(|it| it.to_string());
    let has_both = is_new && output("npm", &["--version"]).is_some();
    found(
        has_both,
        "Node.js 18 or newer with npm",
        too_old.into_iter().collect(),
    )
}

fn found(is_there: bool, wanted: &'static str, too_old: Vec<String>) -> Result<(), ServerError> {
    if is_there {
        Ok(())
    } else {
        Err(ServerError::Missing { wanted, too_old })
    }
}

/// Returns the output of a program, if the program succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}
