//! `cargo xtask test --fast`: runs every test that needs no server. It starts and installs no
//! server.

use std::env;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};

use super::{AMQP_URL, POSTGRES_URL, Ran, THREADS, ended, run_cargo};
use crate::needs;
use crate::repository;
use crate::tally::Tally;

/// The argument that selects a fast run.
const WORD: &str = "--fast";

/// The environment variable that makes every start of a server fail, so that a test that needs a
/// server fails as well: see `hookbox_testkit::servers::find`.
const NO_SERVERS: &str = "HOOKBOX_TEST_NO_SERVERS";

/// How many tests of one program run at a time, unless the caller sets the number. Long tests
/// mostly wait for deadlines and need no processor, so eight at a time are faster than four.
/// Sixteen take as long as eight.
const AT_A_TIME: &str = "8";

/// The error text for arguments that cannot be combined with a fast run.
const ALONE: &str = "\
--fast runs every test that needs no server, and takes no other argument. Instead:
  cargo test -p NAME [filter]                   one crate of those that need no server
  cargo xtask test -p NAME [-- filter]          any crate, with private servers";

/// Returns whether a fast run is requested.
pub fn is_asked(arguments: &[String]) -> bool {
    let mut ours = arguments.iter().take_while(|word| *word != "--");
    ours.any(|word| word == WORD)
}

/// Builds the tests, then runs them. The last line of the output is `N passed, M failed`; the line
/// before it is the time that the tests took.
///
/// # Errors
/// When a test does not build, or cargo cannot be run.
pub fn run(arguments: &[String], environment: &[(&str, &str)]) -> Result<ExitCode> {
    if arguments != [WORD] {
        let words = arguments.join(" ");
        eprintln!("error: cargo xtask test {words}: {ALONE}");
        return Ok(ExitCode::from(64));
    }
    for (target, why) in needs::left_out() {
        eprintln!("not run, since it needs servers: {target} ({why})");
    }
    let units = needs::units()?;
    build(&units.concat())?;
    let start = Instant::now();
    let mut all = Tally::default();
    let mut succeeded = true;
    for ran in at_the_same_time(&runs(&units), environment) {
        let Ran { status, tally, .. } = ran?;
        let ran = tally.passed + tally.failed;
        if status.success() && ran == 0 {
            eprintln!("error: no test ran: see TARGETS in crates/xtask/src/needs.rs");
        }
        succeeded &= status.success() && ran > 0;
        all.passed += tally.passed;
        all.failed += tally.failed;
    }
    println!(
        "the tests took {:.1} s after the build",
        start.elapsed().as_secs_f32()
    );
    Ok(ended(succeeded, all))
}

/// Builds all tests first, so that the time of the tests does not include the build.
fn build(units: &[String]) -> Result<()> {
    let start = Instant::now();
    let mut cargo = repository::cargo();
    cargo.args(["test", "--workspace", "--no-run", "--quiet"]);
    cargo.args(units).args(needs::targets());
    for (target, _) in needs::parts() {
        cargo.args(["--test", target]);
    }
    let built = cargo.status().context("running cargo test --no-run")?;
    ensure!(built.success(), "the tests do not build: see above");
    eprintln!("built in {:.1} s", start.elapsed().as_secs_f32());
    Ok(())
}

/// Runs cargo once with each of these lists of arguments, all at the same time. This saves time,
/// because most long tests only wait for deadlines. If several runs have to build something, cargo
/// lets them build one after the other.
fn at_the_same_time(runs: &[Vec<String>], environment: &[(&str, &str)]) -> Vec<Result<Ran>> {
    let one = |words: &[String]| {
        run_cargo(words, environment, |command| {
            command.env(NO_SERVERS, "1");
            if env::var_os(THREADS).is_none() {
                command.env(THREADS, AT_A_TIME);
            }
            command.env_remove(POSTGRES_URL).env_remove(AMQP_URL);
        })
    };
    thread::scope(|scope| {
        let started: Vec<_> = runs
            .iter()
            .map(|words| scope.spawn(|| one(words)))
            .collect();
        let ended = started.into_iter().map(|run| run.join());
        ended
            .map(|ran| ran.unwrap_or_else(|_| Err(anyhow!("a run of cargo panicked"))))
            .collect()
    })
}

/// Returns the arguments of each run of cargo. Every run selects the whole workspace. With fewer
/// packages, cargo would select other features of their dependencies, and would build everything
/// again. Each run starts one test program after another. While a program waits for a deadline, the
/// other runs continue, so several runs at the same time take less time than one.
fn runs(units: &[Vec<String>]) -> Vec<Vec<String>> {
    let test = |words: &[String]| {
        let all = ["test", "--no-fail-fast", "--workspace"];
        let all = all.into_iter().map(str::to_owned);
        all.chain(words.iter().cloned()).collect::<Vec<_>>()
    };
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let without_canaries: Vec<String> = words(&["--", "--skip", needs::CANARIES]);
    let of_units = |units: &Vec<String>| test(&[units.as_slice(), &without_canaries].concat());
    let mut runs: Vec<Vec<String>> = units.iter().map(of_units).collect();
    runs.push(test(&needs::targets()));
    runs.push(test(&words(&["--doc"])));
    for (target, modules) in needs::parts() {
        runs.push(test(&words(&[&["--test", target, "--"], modules].concat())));
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn it_is_asked_for_before_the_filters() {
        assert!(is_asked(&words("--fast")));
        assert!(is_asked(&words("-p hookbox --fast")));
        assert!(!is_asked(&words("-- --fast")));
        assert!(!is_asked(&[]));
    }

    #[test]
    fn it_is_asked_for_alone() -> Result<()> {
        for other in ["--fast -p hookbox-tests", "--fast --keep", "--fast -- wire"] {
            assert_eq!(run(&words(other), &[])?, ExitCode::from(64), "{other}");
        }
        Ok(())
    }

    #[test]
    fn each_part_is_a_run_of_its_own() {
        let runs = runs(&[words("--lib"), words("--bins")]);
        assert_eq!(runs.len(), 4 + needs::parts().count());
        for (run, units) in runs.iter().zip(["--lib", "--bins"]) {
            let skips = format!("{units} -- --skip {}", needs::CANARIES);
            assert_eq!(
                *run,
                words(&format!("test --no-fail-fast --workspace {skips}"))
            );
        }
        assert!(runs[4].contains(&"--".to_owned()));
    }
}
