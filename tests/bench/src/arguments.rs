//! The arguments of `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;

use crate::case::{CASES, Case};
use crate::program::Program;

/// The default number of runs of each measurement: the fewest that have a median.
const RUNS: usize = 3;

/// Measures the release build, beside what the servers alone can do in the same run.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
pub(crate) struct Arguments {
    /// Run only this case; may be given several times [default: every case]
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// List the cases with their goals, and measure nothing
    #[arg(long)]
    pub list: bool,
    /// How often each figure is measured; the median counts
    #[arg(long, value_name = "N", default_value_t = RUNS)]
    pub runs: usize,
    /// Send little, to see that the cases work; the figures mean nothing
    #[arg(long)]
    pub quick: bool,
    /// Also measure with this many million events already in the store, in the cases that support
    /// it
    #[arg(long, value_name = "MILLIONS", default_value_t = 0.0)]
    pub stored: f64,
    /// Also measure another build of hookbox, such as an older one; may be given several times
    #[arg(long = "binary", value_name = "[NAME=]PATH")]
    binaries: Vec<String>,
    /// Measure this build instead of building and measuring this source tree
    #[arg(long, value_name = "PATH")]
    pub built: Option<PathBuf>,
    /// Also measure graphile-worker, which npm installs into target/bench/ the first time
    #[arg(long)]
    pub peers: bool,
    /// Print the figures as JSON instead of the table
    #[arg(long)]
    pub json: bool,
    /// Replace the dated table in docs/BENCHMARKS.md
    #[arg(long, conflicts_with = "quick")]
    pub write: bool,
}

impl Arguments {
    /// Returns the selected cases, in the order of the list.
    ///
    /// # Errors
    /// When a name is not that of a case.
    pub fn cases(&self) -> Result<Vec<&'static Case>> {
        let is_case = |name: &&String| CASES.iter().any(|case| case.name == **name);
        if let Some(wrong) = self.cases.iter().find(|name| !is_case(name)) {
            bail!("there is no case {wrong:?}; --list lists the cases");
        }
        let wanted =
            |case: &&Case| self.cases.is_empty() || self.cases.iter().any(|name| name == case.name);
        Ok(CASES.iter().filter(wanted).collect())
    }

    /// Returns the other builds that are measured as well.
    pub fn others(&self) -> impl Iterator<Item = Program> {
        self.binaries.iter().map(|text| Program::parse(text))
    }
}
