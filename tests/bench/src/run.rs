//! A run of the bench: what was measured so far.

use crate::bench::Bench;
use crate::case::Case;
use crate::figure::Line;
use crate::floors::Floors;

/// What a run has measured.
pub(crate) struct Run {
    pub floors: Floors,
    /// The floors that could not be measured, each with the reason. That is not a failure.
    pub absent: Vec<String>,
    /// How often each figure is measured.
    pub runs: usize,
    pub lines: Vec<Line>,
    /// The cases that failed, each with the reason.
    pub failed: Vec<String>,
}

impl Run {
    /// Measures a case on a build. If it fails, the other cases can still be measured.
    pub fn measure(&mut self, case: &Case, bench: &Bench<'_>) {
        let program = &bench.program.name;
        match (case.run)(bench) {
            Ok(figures) => {
                for figure in figures {
                    let line = figure.line(program, case.name, &self.floors);
                    let (median, unit) = (line.median, line.unit);
                    bench.say(&format!("{}: {median:.1} {unit}", line.figure));
                    self.lines.push(line);
                }
            }
            Err(error) => {
                let failure = format!("{} ({program}): {error:#}", case.name);
                eprintln!("{failure}");
                self.failed.push(failure);
            }
        }
    }
}
