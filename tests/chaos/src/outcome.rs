//! The result of one case, and how it is printed.

use anyhow::Result;
use serde_json::json;

use crate::case::Layer;
use crate::checker::Figures;
use crate::pair::Pair;

/// The result of one run of a case.
#[derive(Debug, Clone)]
pub struct CaseResult {
    /// The name of the case, as `--case` accepts it.
    pub case: String,
    pub layer: Layer,
    pub pair: Option<Pair>,
    pub seed: u64,
    pub seconds: f32,
    pub figures: Figures,
    pub verdict: Verdict,
}

/// Whether the promise of a case held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every invariant held.
    Held,
    /// An invariant did not hold, with the full finding.
    Broken(String),
    /// The case could not run on this machine, with the reason.
    DidNotRun(String),
}

impl Verdict {
    /// Returns the name of the verdict as the results show it, and the reason, which is empty when
    /// the promise held.
    pub fn words(&self) -> (&'static str, &str) {
        match self {
            Verdict::Held => ("held", ""),
            Verdict::Broken(why) => ("broken", why),
            Verdict::DidNotRun(why) => ("did not run", why),
        }
    }

    /// Combines two verdicts: returns the worse one, or the first of two equal ones.
    pub fn and(self, other: Self) -> Self {
        match (&self, &other) {
            (Verdict::Broken(_), _) | (_, Verdict::Held) => self,
            (Verdict::DidNotRun(_), Verdict::DidNotRun(_)) => self,
            (Verdict::DidNotRun(_), Verdict::Broken(_)) | (Verdict::Held, _) => other,
        }
    }

    /// Returns `Held` for `Ok`, and `Broken` with the error for `Err`.
    pub fn of(ran: Result<()>) -> Self {
        match ran {
            Ok(()) => Verdict::Held,
            Err(error) => Verdict::Broken(format!("{error:#}")),
        }
    }
}

impl CaseResult {
    /// Returns the result as text, or as JSON.
    pub fn said(&self, as_json: bool) -> String {
        let (word, why) = self.verdict.words();
        let (layer, pair) = (self.layer.as_str(), self.pair.map_or("-", Pair::as_str));
        let figures = &self.figures;
        if as_json {
            let object = json!({
                "case": self.case, "layer": layer, "pair": pair, "seed": self.seed,
                "seconds": self.seconds, "result": word, "why": why,
                "accepted": figures.accepted, "unanswered": figures.unanswered,
                "lost": figures.lost, "doubled": figures.doubled, "again": self.again(),
            });
            return object.to_string();
        }
        let word = if word == "broken" { "BROKEN" } else { word };
        let mut text = format!(
            "{word:<8} {layer:<10} {:<34} {pair:<9} {:>6.1} s  {} accepted, {} not",
            self.case, self.seconds, figures.accepted, figures.unanswered
        );
        if !why.is_empty() {
            text.push_str(&format!("\n{why}\nagain: {}", self.again()));
        }
        text
    }

    /// Returns the command that repeats the case with the same seed.
    pub fn again(&self) -> String {
        let pair = self.pair.map(|pair| format!(" --pair {pair}"));
        format!(
            "cargo xtask chaos --layer {} --case {}{} --seed {}",
            self.layer.as_str(),
            self.case,
            pair.unwrap_or_default(),
            self.seed
        )
    }
}
