//! `docs/FAULTS.md`: what was last run, when, and what came of it. Written by this tool alone,
//! from the results that it keeps beside it, so that a run of one case changes one line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::case::{Case, Proof};
use crate::catalog;
use crate::outcome::{Outcome, Verdict};

/// Every result that is known.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// By case and pair.
    pub cases: BTreeMap<String, Row>,
    /// By pair.
    pub soaks: BTreeMap<String, Value>,
    /// By mutant.
    pub mutants: BTreeMap<String, Value>,
    /// Which code runs: what is built now, whatever is committed meanwhile.
    #[serde(skip)]
    pub commit: String,
}

/// One result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub case: String,
    pub pair: Option<String>,
    pub seed: u64,
    pub seconds: f32,
    pub accepted: u64,
    pub unanswered: u64,
    pub lost: u64,
    pub doubled: u64,
    /// held, broken or did not run.
    pub result: String,
    /// The first line of why.
    pub why: String,
    pub date: String,
    pub commit: String,
}

impl Results {
    /// None yet, of the code that is here now.
    pub fn of_this_run() -> Self {
        Self {
            commit: commit(),
            ..Self::default()
        }
    }

    /// Those of the project.
    fn kept() -> Result<Self> {
        let path = path("docs/faults.json");
        if !path.is_file() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(&path).context("reading docs/faults.json")?;
        serde_json::from_str(&text).context("reading docs/faults.json")
    }

    /// Notes an outcome.
    pub fn note(&mut self, outcome: &Outcome) {
        let (result, why) = match &outcome.verdict {
            Verdict::Held => ("held", ""),
            Verdict::Broken(why) => ("broken", why.as_str()),
            Verdict::DidNotRun(why) => ("did not run", why.as_str()),
        };
        let pair = outcome.pair.map(|pair| pair.to_string());
        let key = format!("{} {}", outcome.case, pair.as_deref().unwrap_or("-"));
        let row = Row {
            case: outcome.case.clone(),
            pair,
            seed: outcome.seed,
            seconds: outcome.seconds,
            accepted: outcome.figures.accepted,
            unanswered: outcome.figures.unanswered,
            lost: outcome.figures.lost,
            doubled: outcome.figures.doubled,
            result: result.to_owned(),
            why: why.lines().next().unwrap_or_default().to_owned(),
            date: today(),
            commit: self.commit.clone(),
        };
        self.cases.insert(key, row);
    }

    /// Writes both files: what was kept, with these over it. Another run may have written
    /// meanwhile.
    ///
    /// # Errors
    /// When one cannot be read or written.
    pub fn write(&self) -> Result<()> {
        let mut all = Self::kept()?;
        all.cases.extend(self.cases.clone());
        all.soaks.extend(self.soaks.clone());
        all.mutants.extend(self.mutants.clone());
        let mut json = serde_json::to_string_pretty(&all).context("writing results")?;
        json.push('\n');
        std::fs::write(path("docs/faults.json"), json).context("writing docs/faults.json")?;
        std::fs::write(path("docs/FAULTS.md"), all.document()).context("writing docs/FAULTS.md")
    }

    fn document(&self) -> String {
        let mut text = String::from(HEAD);
        self.soaks(&mut text);
        self.cases(&mut text);
        self.matrix(&mut text);
        self.mutants(&mut text);
        text
    }

    fn soaks(&self, text: &mut String) {
        text.push_str(SOAK);
        for (pair, soak) in &self.soaks {
            let number = |name: &str| soak[name].as_u64().unwrap_or_default();
            let _ = writeln!(
                text,
                "| {pair} | {} | {} | {} min | {} | {} | {} | {} | {} | {} | {} | {} |",
                soak["date"].as_str().unwrap_or_default(),
                soak["commit"].as_str().unwrap_or_default(),
                number("minutes"),
                number("seed"),
                number("rounds"),
                number("accepted"),
                number("unanswered"),
                number("effects"),
                number("lost"),
                number("doubled"),
                soak["result"].as_str().unwrap_or_default(),
            );
        }
        for (pair, soak) in &self.soaks {
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
                "\nOn {pair}{with}: {}. At most {} threads and {} open files in one process.",
                list.join(", "),
                soak["threads"],
                soak["files"],
            );
        }
    }

    fn cases(&self, text: &mut String) {
        text.push_str(CASES);
        for case in catalog::all() {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                case.number,
                case.name,
                case.what,
                case.proofs
                    .iter()
                    .map(Proof::label)
                    .collect::<Vec<_>>()
                    .join("; "),
                self.last(case),
            );
        }
        text.push_str("\n## What is not shown, or does not hold\n\n");
        let mut nothing = true;
        for row in self.cases.values().filter(|row| row.result == "broken") {
            let pair = row.pair.as_deref().unwrap_or("-");
            let _ = writeln!(
                text,
                "- {} on {pair}, seed {}: {}",
                row.case, row.seed, row.why
            );
            nothing = false;
        }
        if nothing {
            text.push_str("Nothing that is known.\n");
        }
    }

    /// The last results of a case, in one cell.
    fn last(&self, case: &Case) -> String {
        let rows = self.cases.values().filter(|row| row.case == case.name);
        let one = |row: &Row| {
            let pair = row.pair.as_deref().unwrap_or("all");
            let why = match row.result.as_str() {
                "did not run" => format!(" ({})", row.why),
                _ => String::new(),
            };
            format!(
                "{pair}: {}{why}, {}, {}, seed {}",
                row.result, row.date, row.commit, row.seed
            )
        };
        let list: Vec<String> = rows.map(one).collect();
        if list.is_empty() {
            return "never by this tool".to_owned();
        }
        list.join("; ")
    }

    fn matrix(&self, text: &mut String) {
        text.push_str(MATRIX);
        for (_, row) in self
            .cases
            .iter()
            .filter(|(_, row)| row.case.starts_with("crash/"))
        {
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

    fn mutants(&self, text: &mut String) {
        text.push_str(MUTANTS);
        for (name, row) in &self.mutants {
            let word = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} | {} | {} |",
                word("breaks"),
                word("caught_by"),
                word("finding"),
                word("date"),
                word("commit"),
            );
        }
    }
}

const HEAD: &str = "\
# Faults

Written by `cargo xtask chaos`; do not edit. A run of a case changes its line.

`cargo xtask chaos --list` names the cases; `--case NAME` runs one, `--seed N` repeats what chance
decided, `--layer NAME` runs a layer, `--minutes M` soaks, `--mutants` breaks the code on purpose.
Invariants I1 to I20 are checked by one checker from the client's journal, which is on disk, and
from tables without uniqueness, in which a double effect shows.
";

const SOAK: &str = "
## The soak: case 84

Faults drawn from the seed, one after the other, under load; each round is healed, comes to rest
and is checked: every receipt that was answered 200 has its outcome, every accepted event has one
effect, the books balance.

| pair | date | commit | time | seed | rounds | accepted | not accepted | effects | lost | double | result |
|---|---|---|---|---|---|---|---|---|---|---|---|
";

const CASES: &str = "
## The cases

| no. | name | what | shown by | last run |
|---|---|---|---|---|
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
(`cargo xtask chaos --mutants`).

| mutant | breaks | caught by | finding | date | commit |
|---|---|---|---|---|---|
";

/// A file of the project.
pub fn path(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = own.parent().and_then(Path::parent).unwrap_or(own);
    root.join(name)
}

/// The day, in UTC.
pub fn today() -> String {
    let now = time::OffsetDateTime::now_utc();
    format!(
        "{}-{:02}-{:02}",
        now.year(),
        u8::from(now.month()),
        now.day()
    )
}

/// Which code this is.
fn commit() -> String {
    let output = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .current_dir(path("."))
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}
