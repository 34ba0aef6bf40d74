//! `send` and `generate` with a real receiver. `generate` predicts the outcomes of the requests
//! that it sends. These outcomes must occur.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use hookbox_testkit::binary::Process;
use serde_json::Value;

use crate::binary::command;
use crate::development::Development;

/// The longest wait for a process to do what a test expects. Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the numbers of receipts that `hookbox reconcile` reports for each route: how many are
/// done, duplicate, conflict and dead.
fn booked(reconciled: &Value) -> BTreeMap<String, [u64; 4]> {
    let routes = reconciled["routes"].as_array().unwrap();
    let of = |route: &Value| {
        let count = |word: &str| route["store"][word].as_u64().unwrap();
        assert_eq!(count("retrying"), 0);
        assert_eq!(route["accepted"], route["store"]["receipts"]);
        let counts = ["done", "duplicate", "conflict", "dead"].map(count);
        (route["route"].as_str().unwrap().to_owned(), counts)
    };
    routes.iter().map(of).collect()
}

/// Returns the numbers of receipts that `generate` predicts for each route: how many will be done,
/// duplicate, conflict and dead.
fn expected(tally: &Value) -> BTreeMap<String, [u64; 4]> {
    let routes = tally["expected_by_route"].as_object().unwrap();
    let of = |(route, expected): (&String, &Value)| {
        let count = |word: &str| expected[word].as_u64().unwrap();
        let dead = expected["dead"].as_object().unwrap().values();
        let dead = dead.map(|count| count.as_u64().unwrap()).sum();
        let counts = [count("done"), count("duplicate"), count("conflict"), dead];
        (route.clone(), counts)
    };
    routes.iter().map(of).collect()
}

/// Returns the JSON in which `send` and `generate` report how they signed their requests to
/// `hookbox dev`.
fn terms() -> Value {
    serde_json::json!({
        "config": ".hookbox-dev/hookbox.toml",
        "source": "begini",
        "scheme": "hmac-sha512",
        "header": "x-signature",
        "key": "dev",
    })
}

#[test]
fn the_outcomes_are_those_that_the_tally_expects() {
    let dev = Development::start("the_outcomes_are_those_that_the_tally_expects");
    let journal = dev.folder().join("journal.jsonl");
    let said = dev.generate(&[
        "--count",
        "600",
        "--duplicates",
        "10",
        "--tampered",
        "5",
        "--malformed",
        "5",
        "--conflicts",
        "5",
        "--late",
        "5",
        "--seed",
        "7",
        "--journal",
        journal.to_str().unwrap(),
    ]);
    let tally = said.well().json();
    for (what, count) in [
        ("wrongly_accepted", 0),
        ("wrongly_refused", 0),
        ("unknown_outcome", 0),
        ("refused", 30),
    ] {
        assert_eq!(tally[what], count, "{what}: {tally:#}");
    }
    assert_eq!(tally["answers"]["403"], 30);
    assert_eq!(tally["signed"], terms());
    assert_eq!(tally["planned"], tally["sent"]);
    let reconciled = dev.settle();
    assert_eq!(reconciled["verdict"], "balanced");
    assert_eq!(booked(&reconciled), expected(&tally));
    let conflicts: u64 = expected(&tally).values().map(|counts| counts[2]).sum();
    assert!(
        (28..=32).contains(&conflicts),
        "about 5 % of the 600 events must be conflicts, but {conflicts} are"
    );

    let lines = std::fs::read_to_string(&journal).unwrap();
    assert_eq!(
        lines.lines().count() as u64,
        tally["sent"].as_u64().unwrap()
    );
    let accepted = lines.lines().filter(|line| {
        let entry: Value = serde_json::from_str(line).unwrap();
        entry["status"] == 200 && entry["receipt"].is_string()
    });
    assert_eq!(accepted.count() as u64, tally["accepted"].as_u64().unwrap());
    assert!(
        !lines.contains("uid") && !lines.contains("SIM"),
        "the file of `--journal` must not contain a body"
    );

    // The same seed produces the same events again, so hookbox already knows all of them.
    let again = dev
        .generate(&["--count", "50", "--seed", "7"])
        .well()
        .json();
    let before: u64 = booked(&reconciled).values().map(|counts| counts[0]).sum();
    let after: u64 = booked(&dev.settle()).values().map(|counts| counts[0]).sum();
    assert_eq!(again["accepted"], 50);
    // Most of these fifty events are done already. Only the few that the first run sent altered,
    // malformed or as conflicts can become done in this run, which sends them as valid events.
    assert!(after - before <= 10, "done: {before}, then {after}");
}

#[test]
fn one_event_is_sent_and_only_200_with_json_is_success() {
    let dev = Development::start("one_event_is_sent_and_only_200_with_json_is_success");
    let sent = dev.json(&["send", "--url", dev.url()]);
    assert_eq!(
        (&sent["status"], &sent["accepted"]),
        (&200.into(), &true.into())
    );
    assert!(sent["answer"]["receipt"].is_string());
    assert_eq!(sent["signed"], terms());
    let kind = ["send", "--url", dev.url(), "--type", "application.expired"];
    let said = dev.run(&kind).well().out;
    assert!(said.contains("answered 200: accepted"), "{said}");
    let signed = "signed by the config .hookbox-dev/hookbox.toml: source begini, hmac-sha512 in \
                  x-signature, key \"dev\"; this shows that the config accepts such requests";
    assert!(said.contains(signed), "{said}");
    let said = dev.run(&["generate", "--url", dev.url(), "--count", "1"]);
    assert!(said.well().out.contains(signed));
    let strange = dev.run(&["send", "--header", "no colon"]);
    assert_eq!(strange.code, 2, "{strange:?}");
    let file = dev.folder().join("body");
    std::fs::write(&file, b"not JSON, and genuine all the same").unwrap();
    dev.run(&["send", "--url", dev.url(), "--file", file.to_str().unwrap()])
        .well();
    let groups = {
        dev.settle();
        dev.json(&["dead", "groups"])
    };
    assert_eq!(groups["groups"][0]["reason"], "malformed");

    let elsewhere = format!("{}/healthz", dev.url());
    let refused = dev.run(&["send", "--url", &elsewhere]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.out.contains("not accepted"), "{refused:?}");
    let unreachable = dev.run(&["send", "--url", "http://127.0.0.1:9"]);
    assert_eq!(unreachable.code, 1);
    assert!(
        unreachable.err.contains("no connection to 127.0.0.1:9"),
        "{unreachable:?}"
    );
    let unreachable = dev.run(&["generate", "--url", "http://127.0.0.1:9", "--count", "5"]);
    assert_eq!(unreachable.code, 1);
    assert!(
        unreachable.err.contains("nothing was sent"),
        "{unreachable:?}"
    );
}

#[test]
fn shares_that_cannot_be_are_refused() {
    let dev = Development::start("shares_that_cannot_be_are_refused");
    for (wrong, says) in [
        (["--tampered", "101"], "from 0 to 100"),
        (["--late", "NaN"], "from 0 to 100"),
        (["--rate", "-1"], "unexpected argument"),
        (["--rate", "inf"], "--rate"),
        (["--count", "0"], "1..=10000000"),
    ] {
        let refused = dev.generate(&wrong);
        assert!(matches!(refused.code, 1 | 2), "{refused:?}");
        assert!(refused.err.contains(says), "{refused:?}");
    }
    let strange = dev.run(&["send", "--source", "stripe"]);
    assert!(
        strange
            .err
            .contains("the config does not have the source of --source; it has begini"),
        "{strange:?}"
    );
}

#[test]
fn an_interrupted_run_reports_what_was_sent() {
    let dev = Development::start("an_interrupted_run_reports_what_was_sent");
    let arguments = [
        "generate",
        "--json",
        "--url",
        dev.url(),
        "--count",
        "1000000",
        "--rate",
        "100",
        "--journal",
        "/dev/stderr",
    ];
    let mut generate = command(dev.folder(), &arguments);
    generate.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::start(&mut generate).unwrap();
    let (mut printed, mut journal) = (process.stdout().unwrap(), process.stderr().unwrap());
    // `generate` writes its answers to the file of `--journal` in blocks, so the first block
    // appears only after several events.
    let accepted = |line: &str| line.contains("\"status\":200").then_some(());
    assert!(
        journal.find(PATIENCE, accepted).is_some(),
        "`generate` must have a request answered 200 before it ends"
    );
    process.signal("INT").unwrap();
    let tally: Value = serde_json::from_str(&printed.to_end(PATIENCE)).unwrap();
    let ended = process
        .wait(PATIENCE)
        .expect("`generate` must end in time after SIGINT");
    assert_eq!(ended.code(), Some(1));
    assert_eq!(tally["interrupted"], true);
    assert_eq!(tally["unknown_outcome"], 0);
    assert_eq!(
        booked(&dev.settle())
            .values()
            .map(|counts| counts[0])
            .sum::<u64>(),
        tally["accepted"].as_u64().unwrap()
    );
}
