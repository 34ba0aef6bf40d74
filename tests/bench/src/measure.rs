//! Sends the traffic of one run, measures the time, and checks the accounting.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hookbox_testkit::servers::process::wait_until;
use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::machine;

/// The number of events that are sent before the measurement, so that connections, caches and query
/// plans are warm and both workers are known to run.
const WARM_UP_EVENTS: u32 = 1_000;

/// The seeds of the warm-up and of the measurement. Different seeds make different events.
const WARM_UP_SEED: &str = "1";
const SEED: &str = "2";

/// The shares of unusual requests in percent: the traffic of a provider on a bad day.
const SHARES: [&str; 8] = [
    "--duplicates",
    "5",
    "--tampered",
    "1",
    "--malformed",
    "1",
    "--conflicts",
    "0.5",
];

/// How long to wait until everything that was accepted has its outcome: far longer than any machine
/// needs.
const DRAIN_MAX: Duration = Duration::from_secs(600);

/// Sends events to hookbox with one pair of a broker and a store, waits until nothing is in flight,
/// and compares the outcomes with the expected ones.
pub(crate) fn pair(deployment: &Deployment, events: u32) -> Result<Value> {
    generate(deployment, WARM_UP_EVENTS, WARM_UP_SEED)?;
    let before = drained(deployment, None)?;
    let began = Instant::now();
    let tally = generate(deployment, events, SEED)?;
    let sent = began.elapsed();
    let accepted = number(&tally["accepted"])?;
    let after = drained(deployment, Some(before.receipts + accepted))?;
    let took = began.elapsed();
    let expected = &tally["expected"];
    for (outcome, found) in [
        ("done", after.done - before.done),
        ("duplicate", after.duplicate - before.duplicate),
        ("conflict", after.conflict - before.conflict),
    ] {
        let wanted = number(&expected[outcome])?;
        // A request that was sent again because its answer was lost may have been stored twice, so
        // each count may differ by the number of such requests.
        let doubt = number(&tally["unknown_outcome"])?;
        let differs = found.abs_diff(wanted) > doubt;
        ensure!(!differs, "{outcome} is {found}, and must be {wanted}");
    }
    let mut memory = serde_json::Map::new();
    for (name, process) in deployment.roles() {
        memory.insert(name.to_owned(), machine::peak_memory_kib(process).into());
    }
    Ok(json!({
        "accepted": accepted,
        "accepted_per_second": tally["accepted_per_second"],
        "processed_per_second": accepted as f64 / took.as_secs_f64(),
        "sent_seconds": sent.as_secs_f64(),
        "drained_seconds": took.as_secs_f64(),
        "latency_ms": tally["latency_ms"],
        "answers": tally["answers"],
        "done": after.done - before.done,
        "duplicate": after.duplicate - before.duplicate,
        "conflict": after.conflict - before.conflict,
        "dead": after.dead - before.dead,
        "peak_memory_kib": memory,
    }))
}

fn generate(deployment: &Deployment, events: u32, seed: &str) -> Result<Value> {
    let count = events.to_string();
    let mut arguments = vec!["generate", "--json", "--count", &count, "--seed", seed];
    arguments.extend(SHARES);
    let output = deployment.must(&arguments)?;
    serde_json::from_slice(&output.stdout).context("reading the tally")
}

/// The number of receipts by outcome, over all routes.
#[derive(Default)]
struct Books {
    receipts: u64,
    done: u64,
    duplicate: u64,
    conflict: u64,
    dead: u64,
}

/// Polls until the given number of receipts have an outcome and nothing is in flight. If the broker
/// does not report messages in flight, only the number of receipts shows that all are done.
fn drained(deployment: &Deployment, receipts: Option<u64>) -> Result<Books> {
    let mut last = Ok((Value::Null, Books::default()));
    let arguments = match receipts {
        Some(_) => &["reconcile", "--json"][..],
        None => &["reconcile", "--json", "--wait", "60s"],
    };
    let rests = wait_until(DRAIN_MAX, || {
        last = look(deployment, arguments);
        let Ok((verdict, books)) = &last else {
            return true;
        };
        verdict == "balanced" && receipts.is_none_or(|receipts| books.receipts >= receipts)
    });
    let (verdict, books) = last?;
    if !rests {
        bail!(
            "not drained after {} s: {verdict}, {} receipts of {receipts:?}",
            DRAIN_MAX.as_secs(),
            books.receipts
        );
    }
    Ok(books)
}

fn look(deployment: &Deployment, arguments: &[&str]) -> Result<(Value, Books)> {
    // `reconcile` exits with 1 if the accounting does not balance, and prints the report in any
    // case.
    let output = deployment.hookbox(arguments)?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| {
        let error = String::from_utf8_lossy(&output.stderr);
        format!("reading the accounting: {error}")
    })?;
    ensure!(report["verdict"] != "imbalanced", "imbalanced: {report:#}");
    let mut books = Books::default();
    for line in report["routes"].as_array().into_iter().flatten() {
        let store = &line["store"];
        books.receipts += number(&store["receipts"])?;
        books.done += number(&store["done"])?;
        books.duplicate += number(&store["duplicate"])?;
        books.conflict += number(&store["conflict"])?;
        books.dead += number(&store["dead"])?;
    }
    Ok((report["verdict"].clone(), books))
}

fn number(value: &Value) -> Result<u64> {
    value
        .as_u64()
        .with_context(|| format!("{value} is not a count"))
}
