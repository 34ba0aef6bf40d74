//! The results of runs, kept as JSON in `target/chaos/` so that `--report` can print the status of
//! each case. Results are never committed: `docs/FAULTS.md` says what must hold, not what has held.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::case::Layer;
use crate::catalog;
use crate::outcome::CaseResult;
use crate::pair::Pair;
use crate::repository::path;

pub mod page;
pub mod standing;

/// The name of the result of the simulation. There is only one such result, and it counts for every
/// case that has the simulation as a proof.
pub const SIMULATION: &str = "simulation";

/// The result of a mutant names the command that failed. When no command failed, the result has
/// this text instead.
pub const UNCAUGHT: &str = "NOTHING";

/// The folder of the results.
const FOLDER: &str = "target/chaos";

/// The file with the results.
const FILE: &str = "target/chaos/results.json";

/// The results of cases, soaks and mutants.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// The results of cases, by case, layer and pair.
    pub cases: BTreeMap<String, Row>,
    /// The results of soaks, by pair.
    pub soaks: BTreeMap<String, Value>,
    /// The results of mutants, by name.
    pub mutants: BTreeMap<String, Value>,
    /// The commit that was built when the run began. A commit during the run does not change this
    /// value.
    #[serde(skip)]
    pub commit: String,
}

/// The newest result of a case in one layer and on one pair of broker and store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub case: String,
    pub layer: String,
    pub pair: Option<String>,
    pub seed: u64,
    pub seconds: f32,
    pub accepted: u64,
    pub unanswered: u64,
    pub lost: u64,
    pub doubled: u64,
    /// The verdict: `held`, `broken` or `did not run`.
    pub result: String,
    /// The first line of the reason why the case did not hold; empty when it held.
    pub why: String,
    pub date: String,
    pub commit: String,
    /// A description of what was run, such as tests or faults. The result counts only while the
    /// case has the same description.
    #[serde(default)]
    pub contents: String,
}

impl Results {
    /// Returns results without any entry, for the commit that is checked out now.
    pub fn of_this_run() -> Self {
        Self {
            commit: commit(),
            ..Self::default()
        }
    }

    /// Reads the results that earlier runs have kept.
    fn kept() -> Result<Self> {
        if !path(FILE).is_file() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(path(FILE)).with_context(|| format!("reading {FILE}"))?;
        serde_json::from_str(&text).with_context(|| format!("reading {FILE}"))
    }

    /// Adds the result of a case, in place of an earlier one.
    pub fn note(&mut self, outcome: &CaseResult) {
        let (result, why) = outcome.verdict.words();
        let pair = outcome.pair.map(|pair| pair.to_string());
        let key = key(&outcome.case, outcome.layer, outcome.pair);
        let row = Row {
            case: outcome.case.clone(),
            layer: outcome.layer.as_str().to_owned(),
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
            contents: contents(&outcome.case, outcome.layer, outcome.pair),
        };
        self.cases.insert(key, row);
    }

    /// Writes these results over those that earlier runs have kept. The file is read again each
    /// time, because another run may have written it meanwhile.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn write(&self) -> Result<()> {
        let mut all = Self::kept()?;
        all.cases.extend(self.cases.clone());
        all.soaks.extend(self.soaks.clone());
        all.mutants.extend(self.mutants.clone());
        let mut json = serde_json::to_string_pretty(&all).context("writing results")?;
        json.push('\n');
        fs::create_dir_all(path(FOLDER)).with_context(|| format!("creating {FOLDER}"))?;
        fs::write(path(FILE), json).with_context(|| format!("writing {FILE}"))
    }
}

/// Returns the key of a result in `cases`: the names of the case, the layer and the pair.
fn key(case: &str, layer: Layer, pair: Option<Pair>) -> String {
    let pair = pair.map_or("-", Pair::as_str);
    format!("{case} {} {pair}", layer.as_str())
}

/// Describes what one layer runs for a case in the current catalogue. The text is empty for single
/// crash points and for the simulation, which are no cases of the catalogue.
fn contents(case: &str, layer: Layer, pair: Option<Pair>) -> String {
    let case = catalog::all().find(|it| it.name == case);
    case.map_or_else(String::new, |case| case.contents(layer, pair))
}

/// Returns the date of today in UTC.
pub fn today() -> String {
    let now = time::OffsetDateTime::now_utc();
    format!(
        "{}-{:02}-{:02}",
        now.year(),
        u8::from(now.month()),
        now.day()
    )
}

/// Returns the commit of the repository, with a `+` when code differs from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(path("."))
            .output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.unwrap_or_default()
    };
    let head = git(&["rev-parse", "--short", "HEAD"]);
    let of_the_code = ["crates", "migrations", "tests", "Cargo.toml", "Cargo.lock"];
    let changed = git(&[&["status", "--porcelain", "--"][..], &of_the_code].concat());
    if changed.is_empty() {
        head
    } else {
        format!("{head}+")
    }
}
