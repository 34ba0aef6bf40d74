//! The figures as a table, and as the dated part of docs/BENCHMARKS.md.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::figure::{Figure, Line, Unit};
use crate::floors::{Floor, Floors};
use crate::run::Run;

/// The line before the dated part of the document.
const BEGIN: &str = "<!-- measured: written by `cargo xtask bench --write` -->";

/// The line after the dated part of the document.
const END: &str = "<!-- end -->";

/// The percentage of busy cores up to which a machine counts as idle. System daemons stay below it.
const QUIET: f64 = 5.0;

/// Returns the table of a run: the floors, then the figures with their goals. What could not be
/// measured is listed below, each with the reason.
pub(crate) fn table(run: &Run) -> String {
    let mut text = String::from(
        "| Case | Figure | Build | Median | Least–most | × floor | Goal | Met |\n\
         |---|---|---|---:|---:|---:|---|---|\n",
    );
    for floor in of_floors(&run.floors) {
        row(&mut text, &floor);
    }
    for line in &run.lines {
        row(&mut text, line);
    }
    for reason in run.absent.iter().chain(&run.failed) {
        // Writing into a string cannot fail.
        let _ = write!(text, "\n- {reason}\n");
    }
    text
}

/// Returns everything that a run has measured as JSON.
pub(crate) fn json(run: &Run, machine: &Value, versions: &Value) -> Value {
    json!({
        "machine": machine,
        "versions": versions,
        "runs": run.runs,
        "floors": of_floors(&run.floors),
        "figures": run.lines,
        "absent": run.absent,
        "failed": run.failed,
    })
}

/// Returns each floor as a line.
fn of_floors(floors: &Floors) -> Vec<Line> {
    let line = |(floor, rates): (&Floor, &Vec<f64>)| {
        let figure = Figure::new(floor.name(), Unit::PerSecond, rates.clone());
        figure.line("–", "floor", floors)
    };
    floors.0.iter().map(line).collect()
}

fn row(text: &mut String, line: &Line) {
    let Line {
        case,
        figure,
        program,
        unit,
        digits,
        ..
    } = line;
    let number = |value: f64| format!("{value:.digits$}");
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let ratio = line.ratio.zip(line.floor);
    let ratio = ratio.map(|(ratio, floor)| format!("{ratio:.2} × {floor}"));
    let met = line
        .is_met
        .map(|met| if met { "yes" } else { "no" }.to_owned());
    // Writing into a string cannot fail.
    let _ = writeln!(
        text,
        "| {case} | {figure} | {program} | {} {unit} | {}–{} | {} | {} | {} |",
        number(line.median),
        number(line.least),
        number(line.most),
        or_dash(ratio),
        or_dash(line.goal.clone()),
        or_dash(met),
    );
}

/// Returns the dated part of the document: when and where the table was measured, and the table.
pub(crate) fn dated(run: &Run, machine: &Value, versions: &Value) -> String {
    let of = |name: &str| plain(&machine[name]);
    let mut servers: Vec<String> = Vec::new();
    for (name, version) in versions.as_object().into_iter().flatten() {
        servers.push(format!("{name} {}", plain(version)));
    }
    let runs = run.runs;
    let mut text = format!(
        "## Measured on {}\n\n\
         Medians of {runs} runs. Machine: {} cores ({}), {} MiB of memory, {}, file system {}, {}; \
         {}; hookbox at commit {}. Other work on all cores before the start: {} %.\n\n",
        of("date"),
        of("cores"),
        of("processor"),
        of("memory_mib"),
        of("kernel"),
        of("file_system"),
        of("rustc"),
        servers.join(", "),
        of("commit"),
        machine["other_work_percent"]
            .as_f64()
            .map_or("–".to_owned(), |percent| format!("{percent:.0}")),
    );
    let other = &machine["other_work_percent"];
    if other.as_f64().is_some_and(|percent| percent > QUIET) {
        text.push_str(
            "**The machine did other work when this began**: the figures are too low, and differ \
             from run to run.\n\n",
        );
    }
    text.push_str(&table(run));
    text
}

/// Returns the document with its dated part replaced by `dated`.
pub(crate) fn replaced(document: &str, dated: &str) -> Result<String> {
    let (before, rest) = document
        .split_once(BEGIN)
        .with_context(|| format!("the document has no line {BEGIN:?}"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("the document has no line {END:?}"))?;
    Ok(format!("{before}{BEGIN}\n{dated}\n{END}{after}"))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Goal;

    fn run(lines: Vec<Line>) -> Run {
        Run {
            floors: Floors::default(),
            absent: vec!["graphile-worker: no npm".to_owned()],
            runs: 3,
            lines,
            failed: Vec::new(),
        }
    }

    #[test]
    fn a_row_has_the_figure_its_spread_and_its_goal() {
        let figure = Figure::new("p99", Unit::Milliseconds, vec![4.0, 5.0, 9.25]);
        let figure = figure.goal(Goal::AtMost(8.0));
        let line = figure.line("now", "accepted-64", &Floors::default());
        let text = table(&run(vec![line]));
        let row = "| accepted-64 | p99 | now | 5.0 ms | 4.0–9.2 | – | ≤ 8 ms | yes |";
        assert!(text.contains(row), "{text}");
        assert!(text.ends_with("\n- graphile-worker: no npm\n"), "{text}");
    }

    #[test]
    fn only_the_dated_part_is_replaced() {
        let machine = json!({ "date": "2026-11-27", "other_work_percent": 40.4 });
        let dated = dated(&run(Vec::new()), &machine, &json!({ "PostgreSQL": "15" }));
        assert!(dated.contains("before the start: 40 %"), "{dated}");
        assert!(dated.contains("did other work"), "{dated}");
        let document = format!("# A\n{BEGIN}\nold\n{END}\nZ\n");
        let text = replaced(&document, &dated).expect("replaced");
        assert!(text.starts_with(&format!("# A\n{BEGIN}\n## Measured on 2026-11-27")));
        assert!(text.ends_with(&format!("\n{END}\nZ\n")));
        assert!(!text.contains("old"));
        assert!(replaced("# A", &dated).is_err());
    }
}
