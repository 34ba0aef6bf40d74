//! The tasks of this project, as `cargo xtask <task>`.
//!
//! This crate is kept small, because it is built before anything else.

mod bench;
mod chaos;
mod ci;
mod dump;
mod finding;
mod fuzz;
mod install;
mod layers;
mod needs;
mod readme;
mod repository;
mod sample;
mod skew;
mod source;
mod tally;
mod test;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask test [--keep] [cargo test's arguments] [-- filter …]
        Runs the tests with private PostgreSQL and RabbitMQ. --keep leaves them running.
        HOOKBOX_TEST_POSTGRES_URL and HOOKBOX_TEST_AMQP_URL name servers to use instead;
        HOOKBOX_TEST_ROOT names a folder with a root file system, whose servers are used instead.
cargo xtask test --fast
        Runs every test that needs no server, in about a minute after the build.
cargo xtask ci [--full FOLDER] [--from STEP]
        Runs everything that must pass before a change lands. --full adds what is too long for
        every change: mutants, an older version, the cluster, long fuzzing, the soak, and the
        servers of a root file system (debootstrap makes one). --from continues at a step.
cargo xtask tidy
        Checks the house rules that a program can check, and prints all findings at once.
cargo xtask sample [--seed N] [--count N] [--json]
        Draws comments, logs, errors and help texts for a reader who does not know the code.
cargo xtask dump [cargo test's arguments] [-- filter …]
        Rewrites the generated files in schemas/, and the tables of keys in docs/CONFIG.md.
cargo xtask skew [--upgrade] [--old REVISION]
        Builds an older hookbox and runs it beside this one, on one broker and one store.
cargo xtask bench [--case NAME] [--list] [--runs N] [--stored MILLIONS] [--binary PATH] [--json]
        Measures the release build beside what the servers alone can do: see docs/BENCHMARKS.md.
cargo xtask chaos [--case NAME] [--seed N] [--minutes M] [--layer NAME] [--mutants] [--list]
        Tries faults on real servers and checks what the client saw. Results: target/chaos/.
cargo xtask fuzz [--target NAME] [--runs N] [--seed N] [--list]
        Feeds every parser that reads untrusted input with mutations, and prints the results.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (task, rest) = match arguments.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("help", [].as_slice()),
    };
    let result = match (task, rest) {
        ("test", rest) if test::fast::is_asked(rest) => test::fast::run(rest, &[]),
        ("test", rest) => test::run(rest, &[]),
        ("sample", rest) => sample::run(rest),
        ("dump", rest) => dump::run(rest),
        ("skew", rest) => skew::run(rest),
        ("bench", rest) => bench::run(rest),
        ("chaos", rest) => chaos::run(rest),
        ("fuzz", rest) => fuzz::run(rest),
        ("ci", rest) if let Some(request) = ci::Request::parse(rest) => ci::run(&request),
        ("tidy", []) => tidy::run(),
        ("help" | "--help" | "-h", _) => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        (_, _) => {
            eprint!(
                "cargo xtask {}: no such task\n\n{HELP}",
                arguments.join(" ")
            );
            Ok(ExitCode::from(64))
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
