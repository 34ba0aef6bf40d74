//! The result of one case.

use anyhow::Result;
use serde_json::json;

use crate::case::Layer;
use crate::checker::Figures;
use crate::pair::Pair;

/// The result of one case.
#[derive(Debug, Clone)]
pub struct CaseResult {
    /// The case, as `--case` knows it.
    pub case: String,
    pub layer: Layer,
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
    /// An invariant did not hold; the full finding.
    Broken(String),
    /// Why it could not be tried here.
    DidNotRun(String),
}

impl Verdict {
    /// As the report has it, and why.
    pub fn words(&self) -> (&'static str, &str) {
        match self {
            Verdict::Held => ("held", ""),
            Verdict::Broken(why) => ("broken", why),
            Verdict::DidNotRun(why) => ("did not run", why),
        }
    }

    /// Of both together: the worse, or the first of two that are as bad.
    pub fn and(self, other: Self) -> Self {
        match (&self, &other) {
            (Verdict::Broken(_), _) | (_, Verdict::Held) => self,
            (Verdict::DidNotRun(_), Verdict::DidNotRun(_)) => self,
            (Verdict::DidNotRun(_), Verdict::Broken(_)) | (Verdict::Held, _) => other,
        }
    }

    /// Of a run.
    pub fn of(ran: Result<()>) -> Self {
        match ran {
            Ok(()) => Verdict::Held,
            Err(error) => Verdict::Broken(format!("{error:#}")),
        }
    }
}

impl CaseResult {
    /// As text, or as JSON.
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

    /// The one command that repeats it.
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
