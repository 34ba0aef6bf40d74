//! `cargo xtask ci`: runs everything that must pass before a change lands. The steps that can fail
//! soonest run first. `--full FOLDER` then runs what takes too long for every change, and repeats
//! the steps that need servers, with a newer generation of servers.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::test::again::ONCE;
use crate::{chaos, dump, fuzz, readme, repository, tidy};

/// The steps of `--full` on this machine's servers, as arguments of `cargo`. The soak tests both
/// pairs of broker and store at once. It runs for fifteen minutes, because every fault of its list
/// occurs within that time.
const LONG: [&str; 6] = [
    "xtask chaos --layer crashes",
    "xtask chaos --mutants",
    "xtask skew",
    "xtask chaos --layer cluster",
    "xtask fuzz",
    "xtask chaos --layer soak --minutes 15",
];

/// The step that checks, for each mutant, whether its patch still applies and the code still builds
/// with it.
const MUTANTS_BUILD: &str = "cargo xtask chaos --mutants --build";

/// The steps that need servers, as arguments of `cargo`.
const MEETS_SERVERS: [&str; 2] = [
    "xtask test -p hookbox-driver-postgres -p hookbox-driver-rabbitmq -p hookbox-tests",
    "xtask chaos --ci --layer faults",
];

/// The command that creates the root file system for `--full`, in which newer servers are
/// installed.
const MAKE_ROOT: &str = "debootstrap --variant=minbase \
     --include=rabbitmq-server,postgresql-17,libfaketime trixie";

/// A function that runs the command of a step.
type Run = Box<dyn Fn(&str) -> Result<()>>;

/// One step: the command as it is printed, and the function that runs it.
struct Step {
    command: String,
    run: Run,
}

/// The arguments of `cargo xtask ci`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The path of a root file system with other servers, if the full run was requested.
    full: Option<String>,
    /// The number of the first step to run, counted from 1.
    from: usize,
}

impl Request {
    /// Reads `[--full FOLDER] [--from STEP]`; `None` when the words are something else.
    pub fn parse(words: &[String]) -> Option<Request> {
        let mut request = Request {
            full: None,
            from: 1,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next()?;
            match word.as_str() {
                "--full" => request.full = Some(value.clone()),
                "--from" => request.from = value.parse().ok().filter(|from| *from >= 1)?,
                _ => return None,
            }
        }
        Some(request)
    }
}

/// Runs every step, and stops at the first that fails. A full run continues with the steps in
/// `LONG`. It then runs the steps in `MEETS_SERVERS` twice, with the servers of the given root file
/// system: RabbitMQ keeps its metadata in Mnesia the first time, and in Khepri the second time.
///
/// # Errors
/// When a step fails or cannot be run.
pub fn run(request: &Request) -> Result<ExitCode> {
    let start = Instant::now();
    if let Some(root) = &request.full {
        // A missing root file system is reported now, and not after the half hour of the other
        // steps.
        ensure!(
            Path::new(root).join("etc/passwd").exists(),
            "{root} has no root file system; to create it: {MAKE_ROOT} {root}"
        );
    }
    let mut steps = of_every_change(request.full.is_some())?;
    if let Some(root) = &request.full {
        steps.extend(of_the_full_run(root));
    }
    let of = steps.len();
    ensure!(request.from <= of, "there are only {of} steps");
    for (number, step) in (1..).zip(&steps).skip(request.from - 1) {
        take(number, of, step).with_context(|| match &request.full {
            Some(root) => format!("to continue here: cargo xtask ci --full {root} --from {number}"),
            None => format!("to continue here: cargo xtask ci --from {number}"),
        })?;
    }
    let seconds = start.elapsed().as_secs();
    match request.from {
        1 => eprintln!("== all steps passed, {seconds} s"),
        from => eprintln!("== steps {from} to {of} passed, {seconds} s"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the steps with this machine's servers that every change must pass. In a full run, no
/// test may be flaky.
fn of_every_change(full: bool) -> Result<Vec<Step>> {
    let mut steps = vec![
        step("cargo fmt --all -- --check", |words| cargo(words, &[])),
        step("cargo xtask tidy", |_| tidy::check()),
        step(
            "cargo clippy --workspace --all-targets --features hookbox-tests/skew -- -D warnings",
            |words| cargo(words, &[]),
        ),
        step("cargo doc --workspace --no-deps", |words| {
            cargo(words, &[("RUSTDOCFLAGS", "-D warnings")])
        }),
    ];
    if full {
        // A mutant's patch that no longer fits the code is found now, and not an hour later by the
        // step that runs the mutants.
        steps.push(step(MUTANTS_BUILD, |words| cargo(words, &[])));
    }
    steps.extend([
        step(&readme::test_command()?, move |command| {
            let mut shell = Command::new("sh");
            if full {
                shell.env(ONCE, "1");
            }
            repository::without_package(&mut shell).current_dir(repository::root());
            succeeds(shell.arg("-c").arg(command))
        }),
        step("cargo xtask fuzz --ci", |_| fuzzing_holds()),
        // The seed of the fault suite is computed from the commit, so each commit is tested with
        // other faults. A failure is printed with the command that repeats it.
        step("cargo xtask chaos --ci", |_| chaos_holds()),
        step("git status --porcelain, for generated files", |_| {
            dumps_are_clean()
        }),
    ]);
    Ok(steps)
}

/// Returns the steps that only the full run has.
fn of_the_full_run(root: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = LONG
        .iter()
        .map(|words| step(&format!("cargo {words}"), |words| cargo(words, &[])))
        .collect();
    for khepri in ["", "1"] {
        for words in MEETS_SERVERS {
            let root = root.to_owned();
            let named = format!("HOOKBOX_TEST_ROOT={root} HOOKBOX_TEST_KHEPRI={khepri}");
            steps.push(step(&format!("{named} cargo {words}"), move |_| {
                let others = [
                    ("HOOKBOX_TEST_ROOT", root.as_str()),
                    ("HOOKBOX_TEST_KHEPRI", khepri),
                    (ONCE, "1"),
                ];
                cargo(&format!("cargo {words}"), &others)
            }));
        }
    }
    steps
}

fn step(command: &str, run: impl Fn(&str) -> Result<()> + 'static) -> Step {
    Step {
        command: command.to_owned(),
        run: Box::new(run),
    }
}

fn take(number: usize, of: usize, step: &Step) -> Result<()> {
    let Step { command, run } = step;
    eprintln!("== {number} of {of}: {command}");
    let start = Instant::now();
    let result = run(command);
    let word = if result.is_ok() { "passed" } else { "failed" };
    eprintln!(
        "== {word} after {:.1} s: {command}",
        start.elapsed().as_secs_f32()
    );
    result.with_context(|| command.clone())
}

fn cargo(words: &str, environment: &[(&str, &str)]) -> Result<()> {
    let arguments = words.split_whitespace().skip(1);
    succeeds(
        repository::cargo()
            .args(arguments)
            .envs(environment.iter().copied()),
    )
}

fn succeeds(command: &mut Command) -> Result<()> {
    let status = command.status().context("starting it")?;
    if status.success() {
        Ok(())
    } else {
        bail!("{status}")
    }
}

fn chaos_holds() -> Result<()> {
    let mut arguments = vec!["--ci".to_owned()];
    if let Some(seed) = seed_of_commit() {
        arguments.extend(["--seed".to_owned(), seed.to_string()]);
    }
    let code = chaos::run(&arguments)?;
    ensure!(
        code == ExitCode::SUCCESS,
        "a case of the fault suite failed: see above"
    );
    Ok(())
}

/// Returns a seed computed from the id of the commit that is checked out; `None` outside a
/// repository. With this seed, each commit is tested with other faults, and a second run on the
/// same commit has the same faults as the first.
fn seed_of_commit() -> Option<u64> {
    let output = Command::new("git")
        .args(["rev-parse", "HEAD"])
        .current_dir(repository::root())
        .output()
        .ok()?;
    let id = String::from_utf8(output.stdout).ok()?;
    u64::from_str_radix(id.get(..8)?, 16).ok()
}

fn fuzzing_holds() -> Result<()> {
    let code = fuzz::run(&["--ci".to_owned()])?;
    ensure!(
        code == ExitCode::SUCCESS,
        "a target of the fuzzer failed: see above"
    );
    Ok(())
}

fn dumps_are_clean() -> Result<()> {
    let changes = dump::changes()?;
    if changes.is_empty() {
        return Ok(());
    }
    for change in &changes {
        eprintln!("{change}");
    }
    bail!("these generated files differ from the last commit: review the difference, and commit it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Request> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Request::parse(&words)
    }

    #[test]
    fn a_run_can_be_continued_at_a_step() {
        let full = Some("/srv/other".to_owned());
        assert_eq!(
            parse(""),
            Some(Request {
                full: None,
                from: 1
            })
        );
        assert_eq!(
            parse("--full /srv/other --from 9"),
            Some(Request { full, from: 9 })
        );
        for wrong in ["--full", "--from", "--from 0", "--from x", "--fast 1", "9"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_the_full_run_has_the_long_steps_and_the_other_servers() {
        let steps = of_the_full_run("/srv/other");
        let commands: Vec<&str> = steps.iter().map(|step| step.command.as_str()).collect();
        for part in ["mutants", "skew", "cluster", "fuzz", "soak", "KHEPRI=1"] {
            assert!(
                commands.iter().any(|command| command.contains(part)),
                "no step of the full run has {part}: {commands:?}"
            );
        }
    }
}
