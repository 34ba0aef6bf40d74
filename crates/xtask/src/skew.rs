//! `cargo xtask skew`: runs an older hookbox beside this one. The two use the same broker and the
//! same store. `cargo xtask skew --upgrade` tests the upgrade from a version whose workers must be
//! stopped before the migration.
//!
//! The older hookbox is built from its commit, in its own work tree and target folder, so that the
//! two builds do not disturb each other. tests/journeys/skew.rs then tests both.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::{repository, test};

/// The revision of the older hookbox if the command line names none: the first commit with schema
/// 19, beside which a newer hookbox can run.
const OLD: &str = "7aeba25";

/// The revision of the older hookbox for `--upgrade`, if the command line names none: a commit
/// before schema 14, which numbers the events.
const OLD_UPGRADE: &str = "59c5812";

/// The environment variable that gives the test the path of the older binary.
const OLD_BINARY: &str = "HOOKBOX_OLD_BINARY";

/// Builds the older hookbox and runs the test with it.
///
/// # Errors
/// When the revision does not exist or does not build, or a server cannot be found or installed.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let (upgrade, rest) = match arguments {
        [word, rest @ ..] if word == "--upgrade" => (true, rest),
        rest => (false, rest),
    };
    let revision = match rest {
        [] if upgrade => OLD_UPGRADE,
        [] => OLD,
        [word, revision] if word == "--old" => revision,
        _ => bail!("cargo xtask skew [--upgrade] [--old REVISION]"),
    };
    let binary = build(revision)?;
    let test = if upgrade {
        "an_upgrade"
    } else {
        "two_versions"
    };
    let words = format!("-p hookbox-tests --features skew --test journeys -- skew::{test}");
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    let binary = binary
        .to_str()
        .context("the path of the older binary is not UTF-8")?;
    test::run(&words, &[(OLD_BINARY, binary)])
}

fn build(revision: &str) -> Result<PathBuf> {
    let root = repository::root();
    let commit = output(
        git(&root)
            .args(["rev-parse", "--verify", "--short=12"])
            .arg(format!("{revision}^{{commit}}")),
    )?;
    let folder = root.join("target/skew");
    let (tree, target) = (folder.join(&commit), folder.join("target"));
    if !tree.is_dir() {
        std::fs::create_dir_all(&folder).context("making target/skew")?;
        // If the folder of a work tree was removed by hand, git still lists the work tree, and
        // would refuse to add it again.
        output(git(&root).args(["worktree", "prune"]))?;
        output(
            git(&root)
                .args(["worktree", "add", "--detach"])
                .arg(&tree)
                .arg(&commit),
        )?;
    }
    eprintln!("building hookbox of {commit}");
    let built = repository::cargo()
        .args(["build", "--locked", "--package", "hookbox", "--target-dir"])
        .arg(&target)
        .current_dir(&tree)
        .status()
        .context("running cargo build")?;
    ensure!(
        built.success(),
        "hookbox of {commit} does not build: see above"
    );
    Ok(target.join("debug/hookbox"))
}

fn git(root: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(root);
    git
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().context("running git")?;
    ensure!(
        output.status.success(),
        "git failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
