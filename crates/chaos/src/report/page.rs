//! The page itself.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Results, standing};
use crate::case::{Case, Proof};
use crate::catalog;
use crate::invariants::INVARIANTS;
use crate::mutants::UNCAUGHT;

/// All of it.
pub fn document(results: &Results) -> String {
    let mut text = String::from(HEAD);
    soaks(results, &mut text);
    text.push_str(CASES);
    cases(results, catalog::faults(), &mut text);
    text.push_str(CANARIES);
    cases(results, catalog::canaries(), &mut text);
    not_shown(results, &mut text);
    invariants(&mut text);
    matrix(results, &mut text);
    mutants(results, &mut text);
    text
}

fn soaks(results: &Results, text: &mut String) {
    text.push_str(SOAK);
    for (pair, soak) in &results.soaks {
        let number = |name| number(soak, name);
        let _ = writeln!(
            text,
            "| {pair} | {} | {} | {} min | {} | {} | {} | {} | {} | {} | {} | {} |",
            word(soak, "date"),
            word(soak, "commit"),
            number("minutes"),
            number("seed"),
            number("rounds"),
            number("accepted"),
            number("unanswered"),
            number("effects"),
            number("lost"),
            number("doubled"),
            word(soak, "result"),
        );
    }
    for (pair, soak) in &results.soaks {
        let faults = soak["faults"].as_object().into_iter().flatten();
        // SQLite is a part of hookbox; servers have versions of their own.
        let with = match soak["servers"].as_str() {
            Some(servers) if pair != "sqlite" => format!(" ({servers})"),
            Some(_) | None => String::new(),
        };
        let list: Vec<String> = faults
            .map(|(name, times)| format!("{name} {times}"))
            .collect();
        let _ = writeln!(
            text,
            "\nOn {pair}{with}: {}; {} of them two at a time. At most {} threads, {} open files \
             and {} MiB in one process.",
            list.join(", "),
            number(soak, "together"),
            soak["threads"],
            soak["files"],
            soak["memory_mib"],
        );
    }
}

fn cases(results: &Results, cases: impl Iterator<Item = &'static Case>, text: &mut String) {
    for case in cases {
        let standing = standing::of(results, case);
        let mut proofs: Vec<String> = case.proofs.iter().map(Proof::label).collect();
        proofs.dedup();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            case.number,
            case.name,
            case.what,
            proofs.join("; "),
            standing.result,
            standing.last,
        );
    }
}

fn not_shown(results: &Results, text: &mut String) {
    text.push_str("\n## What is not shown, or does not hold\n\n");
    let mut lines = Vec::new();
    for row in results.cases.values().filter(|row| row.result != "held") {
        let pair = row.pair.as_deref().unwrap_or("-");
        lines.push(format!(
            "- {} ({}, {pair}, seed {}) {}: {}",
            row.case, row.layer, row.seed, row.result, row.why
        ));
    }
    for case in catalog::all() {
        let missing = standing::of(results, case).missing;
        if !missing.is_empty() {
            lines.push(format!(
                "- {} {}: not all of it has run and held ({})",
                case.number,
                case.name,
                missing.join(", ")
            ));
        }
    }
    for (name, row) in &results.mutants {
        if word(row, "caught_by").contains(UNCAUGHT) {
            lines.push(format!("- the mutant {name}: {UNCAUGHT} caught it"));
        }
    }
    if lines.is_empty() {
        lines.push("Nothing that is known.".to_owned());
    }
    text.push_str(&lines.join("\n"));
    text.push('\n');
}

fn invariants(text: &mut String) {
    text.push_str(CHECKED);
    for invariant in INVARIANTS {
        let _ = writeln!(
            text,
            "| I{} | {} | {} |",
            invariant.number,
            invariant.what,
            invariant.checked()
        );
    }
}

fn matrix(results: &Results, text: &mut String) {
    text.push_str(MATRIX);
    let cells = results.cases.values();
    for row in cells.filter(|row| row.case.starts_with("crash/")) {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            row.case.trim_start_matches("crash/"),
            row.pair.as_deref().unwrap_or("-"),
            row.result,
            row.accepted,
            row.unanswered,
            row.date,
            row.commit,
            row.seed,
        );
    }
}

fn mutants(results: &Results, text: &mut String) {
    text.push_str(MUTANTS);
    for (name, row) in &results.mutants {
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} |",
            word(row, "breaks"),
            word(row, "caught_by"),
            word(row, "finding"),
            word(row, "date"),
            word(row, "commit"),
        );
    }
}

fn number(row: &Value, name: &str) -> u64 {
    row[name].as_u64().unwrap_or_default()
}

fn word<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_default()
}

const HEAD: &str = "\
# Faults

Written by `cargo xtask chaos`; do not edit. A run of a case changes its line.

`cargo xtask chaos --list` names the cases; `--case NAME` runs one, `--seed N` repeats what chance
decided, `--layer NAME` runs a layer, `--minutes M` soaks, `--mutants` breaks the code on purpose.
What a run must hold is checked by one checker, from the client's journal, which is on disk, and
from tables without uniqueness, in which a double effect shows.
";

const SOAK: &str = "
## The soak: case 84

Faults drawn from the seed, one after the other and some two at a time, under load; each round is
healed, comes to rest and is checked: every receipt that was answered 200 has its outcome, every
accepted event has one effect, or a dead letter where it must, the books balance. A fault is
counted when it struck.

| pair | date | commit | time | seed | rounds | accepted | not accepted | effects | lost | double | result |
|---|---|---|---|---|---|---|---|---|---|---|---|
";

const CASES: &str = "
## The cases

A case has `held` when all that is to show it was run, and held. Of a layer that has many results
for a case the oldest is shown.

| no. | name | what | shown by | result | last run |
|---|---|---|---|---|---|
";

const CANARIES: &str = "
## The canaries

Each asserts that a hazard of `docs/HAZARDS.md`, by its number from 101, is still there upstream.
One that fails says what may go. That file says why H6 and H7 have none.

| no. | name | what | shown by | result | last run |
|---|---|---|---|---|---|
";

const CHECKED: &str = "
## The invariants

What `crates/chaos` reports is checked after every real fault, crash, partition and round of a soak;
what `crates/simulation` reports, after every seed. What cannot be seen from outside is each shown
by the tests that are named.

| | what always holds | checked by |
|---|---|---|
";

const MATRIX: &str = "
## The crash-point matrix

The process ends itself at the named point, at its first (`:1`) and second (`:2`) passing.

| point | pair | result | accepted | not accepted | date | commit | seed |
|---|---|---|---|---|---|---|---|
";

const MUTANTS: &str = "
## Broken on purpose

Each line is a change to the code that breaks a promise, and what caught it
(`cargo xtask chaos --mutants`); what catches passes on the same code while nothing is broken.

| mutant | breaks | caught by | finding | date | commit |
|---|---|---|---|---|---|
";
