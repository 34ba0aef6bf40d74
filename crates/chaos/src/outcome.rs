//! What came of one case.

use anyhow::Result;

use crate::checker::Figures;
use crate::pair::Pair;

/// An outcome.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The case, as `--case` knows it.
    pub case: String,
    pub pair: Option<Pair>,
    pub seed: u64,
    pub seconds: f32,
    pub figures: Figures,
    pub verdict: Verdict,
}

/// Whether it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every invariant held.
    Held,
    /// What did not, in full.
    Broken(String),
    /// Why it could not be tried here.
    DidNotRun(String),
}

impl Verdict {
    /// Of a run.
    pub fn of(ran: Result<()>) -> Self {
        match ran {
            Ok(()) => Verdict::Held,
            Err(error) => Verdict::Broken(format!("{error:#}")),
        }
    }
}

impl Outcome {
    /// The one command that repeats it.
    pub fn again(&self) -> String {
        let pair = self.pair.map(|pair| format!(" --pair {pair}"));
        format!(
            "cargo xtask chaos --case {}{} --seed {}",
            self.case,
            pair.unwrap_or_default(),
            self.seed
        )
    }
}
