//! Packages for Python and JavaScript that tests need, and that they install into the build folder
//! with pip and npm.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use hookbox_testkit::binary;

/// The packages for Python: the official library of Standard Webhooks, and the packages that the
/// service in `examples/forward/` needs.
const FOR_PYTHON: [&str; 3] = [
    "standardwebhooks==1.0.0",
    "fastapi==0.115.12",
    "uvicorn==0.34.2",
];

/// The packages for JavaScript: the official library of Standard Webhooks, and the package that the
/// service in `examples/forward/` needs.
const FOR_NODE: [&str; 2] = ["standardwebhooks@1.0.0", "express@5.1.0"];

/// What a developer must do when Python is missing, or one of its packages cannot be installed.
const PYTHON: &str = "install Python 3 with its module venv (on Debian: python3-venv); pip must be \
                      able to install packages";

/// What a developer must do when Node.js is missing, or one of its packages cannot be installed.
const NODE: &str = "install Node.js 18 or newer with npm (on Debian: nodejs and npm); npm must be \
                    able to install packages";

/// Installs the packages for Python, unless they are installed already. Returns the path of a
/// Python that can import them.
#[track_caller]
pub fn python() -> PathBuf {
    let folder = folder("python");
    let program = folder.join("bin/python");
    once(&folder, || {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(&folder);
        run(venv, PYTHON);
        let mut pip = Command::new(&program);
        pip.args([
            "-m",
            "pip",
            "install",
            "--no-input",
            "--disable-pip-version-check",
        ]);
        pip.args(FOR_PYTHON);
        run(pip, PYTHON);
    });
    program
}

/// Installs the packages for JavaScript, unless they are installed already, without running their
/// install scripts. Returns their folder. A script must be in this folder to find the packages.
#[track_caller]
pub fn node() -> PathBuf {
    let folder = folder("node");
    once(&folder, || {
        std::fs::create_dir_all(&folder).unwrap();
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefix",
        ]);
        npm.arg(&folder).args(FOR_NODE);
        run(npm, NODE);
    });
    folder
}

/// Runs a command, which must succeed, and returns its output. If the command fails, the test fails
/// and shows `remedy`, which says what a developer must do.
#[track_caller]
pub fn run(mut command: Command, remedy: &str) -> String {
    let ran = command.output();
    let ran = ran.unwrap_or_else(|error| panic!("{command:?} does not start ({error}): {remedy}"));
    let [out, err] = [&ran.stdout, &ran.stderr].map(|it| String::from_utf8_lossy(it).into_owned());
    assert!(
        ran.status.success(),
        "{command:?} failed: {err}{out}\n{remedy}"
    );
    out
}

/// Returns the folder for the packages of one language, in the target folder of this workspace.
fn folder(name: &str) -> PathBuf {
    let hookbox = binary::built().unwrap();
    hookbox
        .ancestors()
        .nth(2)
        .unwrap()
        .join("test-packages")
        .join(name)
}

/// Installs packages, unless an earlier run has installed the same packages completely. A lock file
/// makes other tests wait meanwhile.
fn once(folder: &Path, install: impl FnOnce()) {
    std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
    let lock = File::create(folder.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let (done, packages) = (
        folder.join("installed"),
        format!("{FOR_PYTHON:?} {FOR_NODE:?}"),
    );
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == packages) {
        return;
    }
    install();
    std::fs::write(&done, packages).unwrap();
}
