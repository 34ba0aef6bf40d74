//! The status of each case, computed from the results in `target/chaos/`: a case holds when each of
//! its proofs has run and held.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{Results, Row, SIMULATION, UNCAUGHT, key};
use crate::case::{Case, Layer, Proof};
use crate::catalog;
use crate::matrix::Cell;
use crate::pair::Pair;

/// The status of one case according to the results of earlier runs.
#[derive(Debug, PartialEq, Eq)]
pub struct CaseStatus {
    /// The word for the status, such as `held` or `never run`. It is `held` only when all proofs of
    /// the case have run and held.
    pub result: &'static str,
    /// For each layer with successful results, the date and the commit of the oldest of these
    /// results.
    pub last: String,
    /// The layers that lack a successful result which the case needs.
    pub missing: Vec<&'static str>,
}

/// Returns the status of every case, and every mutant that was not caught, as lines of text. They
/// come from the results of earlier runs.
///
/// # Errors
/// When the file of results cannot be read.
pub fn status() -> Result<String> {
    let results = Results::kept()?;
    let mut lines = Vec::new();
    for case in catalog::all() {
        let status = of(&results, case);
        let missing = match status.missing.as_slice() {
            [] => String::new(),
            layers => format!("  not run: {}", layers.join(", ")),
        };
        lines.push(format!(
            "{:>3} {:<36} {:<12} {}{missing}",
            case.number, case.name, status.result, status.last
        ));
    }
    for row in results.cases.values().filter(|row| row.result != "held") {
        let pair = row.pair.as_deref().unwrap_or("-");
        lines.push(format!(
            "{} ({}, {pair}, seed {}) {}: {}",
            row.case, row.layer, row.seed, row.result, row.why
        ));
    }
    for (name, row) in &results.mutants {
        let catcher = row["caught_by"].as_str().unwrap_or_default();
        if catcher.contains(UNCAUGHT) {
            lines.push(format!("mutant {name}: nothing caught it"));
        }
    }
    Ok(lines.join("\n"))
}

/// Computes the status of a case from these results.
pub fn of(results: &Results, case: &Case) -> CaseStatus {
    let layers: BTreeSet<Layer> = case.proofs.iter().map(Proof::layer).collect();
    let (mut parts, mut missing) = (Vec::new(), Vec::new());
    let (mut broken, mut ran) = (false, 0);
    for layer in layers {
        let wanted = wanted(case, layer);
        let rows: Vec<&Row> = wanted
            .iter()
            .filter_map(|it| results.cases.get(it))
            .filter(|row| is_of_now(case, layer, row))
            .collect();
        let held: Vec<&Row> = rows
            .iter()
            .copied()
            .filter(|row| row.result == "held")
            .collect();
        broken |= rows.iter().any(|row| row.result == "broken");
        ran += held.len();
        if held.len() < wanted.len() {
            missing.push(layer.as_str());
        }
        if let Some(part) = part(layer, &held, wanted.len()) {
            parts.push(part);
        }
    }
    let result = match (broken, missing.is_empty(), ran) {
        (true, _, _) => "BROKEN",
        (false, true, _) => "held",
        (false, false, 0) => "never run",
        (false, false, _) => "held in part",
    };
    CaseStatus {
        result,
        last: parts.join("; "),
        missing,
    }
}

/// Returns whether the result was made with the same tests and faults that the case has now.
fn is_of_now(case: &Case, layer: Layer, row: &Row) -> bool {
    let pair = |it: &Pair| row.pair.as_deref() == Some(it.as_str());
    let pair = Pair::ALL.into_iter().find(pair);
    row.case != case.name || row.contents == case.contents(layer, pair)
}

/// Returns the keys of all results that the case needs from this layer before it can count as held.
fn wanted(case: &Case, layer: Layer) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for proof in case.proofs.iter().filter(|it| it.layer() == layer) {
        match proof {
            Proof::Faults { pairs, .. } | Proof::Scenario { pairs, .. } => {
                keys.extend(pairs.iter().map(|&pair| key(case.name, layer, Some(pair))));
            }
            Proof::Crashes(points) => {
                let cells = Cell::all().into_iter().filter(|cell| {
                    let mut points = points.iter();
                    points.any(|begin| cell.point.name.starts_with(begin))
                });
                keys.extend(cells.map(|cell| key(&cell.name(), layer, Some(cell.pair))));
            }
            Proof::Soak => {
                keys.extend(Pair::ALL.map(|pair| key(case.name, layer, Some(pair))));
            }
            Proof::Simulation => {
                keys.insert(key(SIMULATION, layer, None));
            }
            Proof::Tests { .. } | Proof::Canary { .. } | Proof::Cluster | Proof::Versions => {
                keys.insert(key(case.name, layer, None));
            }
        }
    }
    keys
}

/// Describes the successful results of one layer by their number and by the date of the oldest, so
/// that a reader knows how current all of them are. Returns `None` if there is none.
fn part(layer: Layer, held: &[&Row], wanted: usize) -> Option<String> {
    let oldest = held.iter().min_by(|a, b| a.date.cmp(&b.date))?;
    let of = match (held.len(), wanted) {
        (1, 1) => String::new(),
        (held, wanted) => format!(" {held} of {wanted}"),
    };
    let seed = match layer {
        Layer::Tests | Layer::Canaries | Layer::Versions => String::new(),
        Layer::Simulation | Layer::Crashes | Layer::Faults | Layer::Cluster | Layer::Soak => {
            format!(", seed {}", oldest.seed)
        }
    };
    Some(format!(
        "{}{of} {} ({}{seed})",
        layer.as_str(),
        oldest.date,
        oldest.commit
    ))
}

#[cfg(test)]
mod tests;
