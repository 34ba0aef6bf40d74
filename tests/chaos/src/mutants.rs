//! Applies mutants, patches that break the code on purpose, to a copy of the repository, one after
//! the other, and checks that some test fails. A test that passes on broken code proves nothing
//! about correct code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use hookbox_testkit::repository::{self, without_package};
use serde_json::json;

use crate::arguments::Arguments;
use crate::report::{self, Results, UNCAUGHT};
use crate::repository::path;
use crate::servers::Servers;

/// The folders of the patches. The first line of a patch says after a `#` what the patch breaks.
/// Each further line that begins with `# caught by:` names a command. At least one of these
/// commands must fail.
const FOLDERS: [&str; 2] = ["tests/simulation/mutants", "tests/chaos/mutants"];

/// The command that must fail on a mutant whose patch names no command of its own.
const SIMULATION: &str = "cargo run --quiet -p hookbox-simulation -- --seeds 3000 --seed 1";

/// The beginnings of the commands that need neither PostgreSQL nor RabbitMQ.
const WITHOUT_SERVERS: [&str; 2] = [
    "cargo test --quiet -p hookbox-worker ",
    "cargo run --quiet -p hookbox-simulation ",
];

/// The error text when `--case` selects no mutant.
const NO_MUTANT: &str = "no mutant has a name that begins with the value of --case";

/// A change to the code that breaks a promise, and what must catch it.
pub struct Mutant {
    pub name: String,
    /// What the mutant breaks.
    pub breaks: String,
    /// The commands that test the broken code. At least one of them must fail.
    pub catchers: Vec<String>,
    patch: PathBuf,
}

/// Applies each selected mutant, and checks that one of its commands fails.
///
/// # Errors
/// When a patch does not apply, or a mutant does not build.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut results = Results::of_this_run();
    let copy = copy_of_the_tree()?;
    let servers = Servers::new();
    let (mut caught, mut missed) = (0, 0);
    let mut passed = BTreeSet::new();
    for mutant in all()? {
        if !arguments.wants_case(None, &mutant.name) {
            continue;
        }
        let began = Instant::now();
        let by = control(&servers, &copy, &mutant, &mut passed);
        let by = match by
            .and_then(|()| with_patch(&copy, &mutant, || catch(&servers, &copy, &mutant)))
        {
            Ok(by) => by,
            Err(error) => {
                // The mutant could not be tried, because its patch does not apply or a command
                // fails on unbroken code. A developer must fix the patch or the command.
                eprintln!("{}: {error:#}", mutant.name);
                missed += 1;
                continue;
            }
        };
        let (catcher, finding) = match &by {
            Some((catcher, finding)) => (catcher.as_str(), finding.as_str()),
            None => (UNCAUGHT, ""),
        };
        println!(
            "{:<30} {:>6.1} s  caught by {catcher}: {finding}",
            mutant.name,
            began.elapsed().as_secs_f32()
        );
        if by.is_some() {
            caught += 1;
        } else {
            missed += 1;
        }
        let row = json!({
            "breaks": mutant.breaks, "caught_by": format!("`{catcher}`"), "finding": finding,
            "date": report::today(), "commit": results.commit,
        });
        results.mutants.insert(mutant.name, row);
        results.write()?;
    }
    ensure!(caught + missed > 0, NO_MUTANT);
    println!("{caught} passed, {missed} failed");
    Ok(if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Applies each selected mutant, and checks that the packages that it changes build. This takes a
/// few minutes, while the tests of all mutants take half an hour. It finds patches that no longer
/// fit the code, for example because the signature of a function has changed.
///
/// # Errors
/// When the copy of the repository cannot be made, or no mutant is selected.
pub fn build(arguments: &Arguments) -> Result<ExitCode> {
    let copy = copy_of_the_tree()?;
    let (mut built, mut failed) = (0, 0);
    for mutant in all()? {
        if !arguments.wants_case(None, &mutant.name) {
            continue;
        }
        match with_patch(&copy, &mutant, || check(&copy, &mutant)) {
            Ok(()) => built += 1,
            Err(error) => {
                eprintln!("{}: {error:#}", mutant.name);
                failed += 1;
            }
        }
    }
    ensure!(built + failed > 0, NO_MUTANT);
    println!("{built} patches apply and build, {failed} do not");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Checks that the packages that a mutant changes build. Uses the target folder of this repository,
/// because the libraries are already built there.
fn check(copy: &Path, mutant: &Mutant) -> Result<()> {
    let text = fs::read_to_string(&mutant.patch).context("reading the patch")?;
    let mut command = repository::cargo();
    command.args(["check", "--quiet", "--target-dir"]);
    command.arg(path("target")).current_dir(copy);
    for package in packages(&text) {
        command.args(["--package", &package]);
    }
    let output = command.output().context("running cargo check")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "the code with the patch does not build:\n{said}"
    );
    Ok(())
}

/// Returns the packages whose files a patch changes. A package is named after its folder: the
/// package in `crates/worker` is `hookbox-worker`. The exception is `hookbox` in `crates/hookbox`.
fn packages(patch: &str) -> BTreeSet<String> {
    let files = patch.lines().filter_map(|line| line.strip_prefix("+++ b/"));
    let folders = files.filter_map(|file| file.split('/').nth(1));
    let package = |folder: &str| match folder {
        "hookbox" => folder.to_owned(),
        _ => format!("hookbox-{folder}"),
    };
    folders.map(package).collect()
}

/// Reads every mutant, in order of name.
///
/// # Errors
/// When a patch cannot be read.
pub fn all() -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for folder in FOLDERS {
        let entries = fs::read_dir(path(folder)).with_context(|| format!("reading {folder}"))?;
        for entry in entries {
            mutants.push(read(entry?.path())?);
        }
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutants)
}

fn read(patch: PathBuf) -> Result<Mutant> {
    let name = patch.file_stem().unwrap_or_default().to_string_lossy();
    let text = fs::read_to_string(&patch).with_context(|| format!("reading {name}"))?;
    let said: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix("# "))
        .collect();
    let catchers = said
        .iter()
        .filter_map(|line| line.strip_prefix("caught by:"));
    let mut catchers: Vec<String> = catchers.map(|it| it.trim().to_owned()).collect();
    if catchers.is_empty() {
        catchers.push(SIMULATION.to_owned());
    }
    Ok(Mutant {
        name: name.into_owned(),
        breaks: said.first().copied().unwrap_or_default().to_owned(),
        catchers,
        patch: patch.clone(),
    })
}

/// Clones the committed state of the repository into a folder that keeps its build between runs.
fn copy_of_the_tree() -> Result<PathBuf> {
    let copy = path("target/mutants");
    if copy.join(".git").exists() {
        // `HEAD` is fetched by its name. Without a name, git would fetch branches only, and the
        // commit of a checkout that is on no branch may be in none of them.
        git(&copy, &["fetch", "--quiet", "origin", "HEAD"])?;
    } else {
        fs::create_dir_all(path("target")).context("creating the target folder")?;
        let (from, to) = (path("."), copy.display().to_string());
        git(&from, &["clone", "--quiet", ".", &to])?;
    }
    let output = Command::new("git")
        .args(["rev-parse", "HEAD"])
        .current_dir(path("."))
        .output()
        .context("reading the commit with git")?;
    let head = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    git(&copy, &["checkout", "--quiet", "--force", &head])?;
    git(&copy, &["clean", "--quiet", "-fd"])?;
    Ok(copy)
}

/// Checks that the commands of a mutant pass on unbroken code. Otherwise their failure on broken
/// code would prove nothing.
fn control(
    servers: &Servers,
    copy: &Path,
    mutant: &Mutant,
    passed: &mut BTreeSet<String>,
) -> Result<()> {
    for catcher in &mutant.catchers {
        if passed.contains(catcher) {
            continue;
        }
        let (well, text) = shell(servers, copy, catcher)?;
        ensure!(well, "`{catcher}` fails on unbroken code:\n{text}");
        println!("the command passes on unbroken code: {catcher}");
        passed.insert(catcher.clone());
    }
    Ok(())
}

/// Runs `work` while the patch of a mutant is applied to the copy.
fn with_patch<R>(copy: &Path, mutant: &Mutant, work: impl FnOnce() -> Result<R>) -> Result<R> {
    let patch = mutant.patch.display().to_string();
    git(copy, &["apply", &patch]).context("the patch does not apply to the code any more")?;
    let result = work();
    git(copy, &["checkout", "--quiet", "--force", "."])?;
    result
}

/// Runs the commands of an applied mutant until one fails. Returns that command and its finding.
fn catch(servers: &Servers, copy: &Path, mutant: &Mutant) -> Result<Option<(String, String)>> {
    for catcher in &mutant.catchers {
        let (well, text) = shell(servers, copy, catcher)?;
        if well {
            continue;
        }
        if text.contains("error: could not compile") {
            bail!("`{catcher}` does not build:\n{text}");
        }
        let finding = finding(&text);
        // A command may fail without a finding, for example because a server does not start. Such a
        // failure does not count as catching the mutant.
        ensure!(
            !finding.is_empty(),
            "`{catcher}` failed, but names no broken invariant and no failed test:\n{text}"
        );
        return Ok(Some((catcher.clone(), finding)));
    }
    Ok(None)
}

/// Returns the line in the output of a command that names the broken invariant or the failed test.
fn finding(text: &str) -> String {
    let is = |line: &&str| {
        let invariant = line.trim_start().strip_prefix('I');
        let invariant = invariant.is_some_and(|it| it.starts_with(|c: char| c.is_ascii_digit()));
        // With `--quiet`, the name of a failed test is only in the heading `---- name ----` above
        // its output.
        invariant || line.starts_with("---- ") || line.contains("invariant")
    };
    let line = text.lines().find(is).unwrap_or_default().trim();
    let line = line.trim_start_matches("---- ").trim_end_matches(" ----");
    line.replace('|', "/").chars().take(160).collect()
}

fn shell(servers: &Servers, folder: &Path, command: &str) -> Result<(bool, String)> {
    let mut shell = Command::new("sh");
    without_package(&mut shell)
        .args(["-c", command])
        .current_dir(folder)
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::null());
    if !WITHOUT_SERVERS.iter().any(|it| command.starts_with(it)) {
        servers.start()?;
        shell
            .env("HOOKBOX_TEST_POSTGRES_URL", servers.postgres_url())
            .env("HOOKBOX_TEST_AMQP_URL", servers.broker_url());
    }
    let output = shell
        .output()
        .with_context(|| format!("running {command}"))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), text))
}

fn git(folder: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .output()
        .with_context(|| format!("git {}", arguments.join(" ")))?;
    ensure!(
        output.status.success(),
        "git {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests;
