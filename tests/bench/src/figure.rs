//! One measured quantity: its runs, their median, and how it compares with a floor and a goal.

use serde::Serialize;

use crate::floors::{Floor, Floors};
use crate::percentile::median;

/// The limit that the median of a figure must keep. The limits are goals of the project, for a
/// machine like the one on which docs/BENCHMARKS.md was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// The median is at least this many times the floor: what the servers alone do in the same run.
    TimesFloor(f64),
    /// The median is at least this number.
    AtLeast(f64),
    /// The median is at most this number.
    AtMost(f64),
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    Milliseconds,
    Microseconds,
    Mebibytes,
    Ratio,
    Count,
}

impl Unit {
    fn as_str(self) -> &'static str {
        match self {
            Unit::PerSecond => "/s",
            Unit::Milliseconds => "ms",
            Unit::Microseconds => "µs",
            Unit::Mebibytes => "MiB",
            Unit::Ratio => "×",
            Unit::Count => "",
        }
    }

    /// Returns how many digits after the decimal point are printed. Further digits would be noise.
    pub fn digits(self) -> usize {
        match self {
            Unit::PerSecond | Unit::Microseconds | Unit::Count => 0,
            Unit::Milliseconds | Unit::Mebibytes => 1,
            Unit::Ratio => 2,
        }
    }
}

/// One measured quantity.
pub(crate) struct Figure {
    name: String,
    unit: Unit,
    runs: Vec<f64>,
    floors: &'static [Floor],
    goal: Option<Goal>,
}

/// A figure in the form in which it is reported.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub program: String,
    pub case: &'static str,
    pub figure: String,
    pub unit: &'static str,
    #[serde(skip)]
    pub digits: usize,
    pub runs: Vec<f64>,
    pub median: f64,
    pub least: f64,
    pub most: f64,
    pub floor: Option<&'static str>,
    pub floor_median: Option<f64>,
    pub ratio: Option<f64>,
    pub goal: Option<String>,
    /// Null when the figure has no goal, or its floor was not measured.
    pub is_met: Option<bool>,
}

impl Figure {
    pub fn new(name: impl Into<String>, unit: Unit, runs: Vec<f64>) -> Figure {
        Figure {
            name: name.into(),
            unit,
            runs,
            floors: &[],
            goal: None,
        }
    }

    /// Compares the figure with the first of these floors that was measured. A floor is what a
    /// server or SQLite does without hookbox.
    pub fn floors(mut self, floors: &'static [Floor]) -> Figure {
        self.floors = floors;
        self
    }

    pub fn goal(mut self, goal: Goal) -> Figure {
        self.goal = Some(goal);
        self
    }

    /// Returns the median of the runs.
    pub fn median(&self) -> f64 {
        median(&self.runs)
    }

    pub fn line(self, program: &str, case: &'static str, floors: &Floors) -> Line {
        let middle = self.median();
        let measured = |floor: &Floor| Some((*floor, floors.median(*floor)?));
        let floor = self.floors.iter().find_map(measured);
        let floor_median = floor.map(|(_, rate)| rate);
        let ratio = floor_median.map(|floor| middle / floor);
        let is_met = self.goal.and_then(|goal| match goal {
            Goal::TimesFloor(least) => ratio.map(|ratio| ratio >= least),
            Goal::AtLeast(least) => Some(middle >= least),
            Goal::AtMost(most) => Some(middle <= most),
        });
        Line {
            program: program.to_owned(),
            case,
            unit: self.unit.as_str(),
            digits: self.unit.digits(),
            median: middle,
            least: self.runs.iter().copied().fold(f64::INFINITY, f64::min),
            most: self.runs.iter().copied().fold(0.0, f64::max),
            floor: floor.map(|(floor, _)| floor.name()),
            floor_median,
            ratio,
            goal: self.goal.map(|goal| text(goal, self.unit)),
            is_met,
            figure: self.name,
            runs: self.runs,
        }
    }
}

fn text(goal: Goal, unit: Unit) -> String {
    match goal {
        Goal::TimesFloor(least) => format!("≥ {least} × floor"),
        Goal::AtLeast(least) => format!("≥ {least} {}", unit.as_str()),
        Goal::AtMost(most) => format!("≤ {most} {}", unit.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_without_its_floor_is_neither_met_nor_missed() {
        let figure = || Figure::new("a", Unit::PerSecond, vec![10.0, 30.0, 20.0]);
        let times = figure()
            .floors(&[Floor::Publishes])
            .goal(Goal::TimesFloor(2.0));
        let line = times.line("now", "case", &Floors::default());
        assert_eq!((line.ratio, line.is_met), (None, None));
        assert_eq!((line.median, line.least, line.most), (20.0, 10.0, 30.0));
        let most = figure().goal(Goal::AtMost(19.0));
        assert_eq!(
            most.line("now", "case", &Floors::default()).is_met,
            Some(false)
        );
        let least = figure().goal(Goal::AtLeast(20.0));
        assert_eq!(
            least.line("now", "case", &Floors::default()).is_met,
            Some(true)
        );
    }
}
