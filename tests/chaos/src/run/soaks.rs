//! Runs the soak (case 84) on each pair of broker and store, and keeps the results.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::Run;
use crate::case::Layer;
use crate::checker::figures_of;
use crate::outcome::{CaseResult, Verdict};
use crate::pair::Pair;
use crate::report;
use crate::scenario::RunContext;
use crate::soak;

impl Run<'_> {
    /// Soaks all pairs of broker and store at the same time, each for this long.
    ///
    /// # Errors
    /// When a server cannot be started.
    pub(super) fn soaks(&self, time: Duration) -> Result<()> {
        self.servers.start()?;
        self.on_each_pair(|pair| {
            self.soak_on(pair, time);
            Ok(())
        })
    }

    fn soak_on(&self, pair: Pair, time: Duration) {
        let given = RunContext {
            servers: &self.servers,
            pair,
            seed: self.seed,
            is_quick: self.arguments.ci,
        };
        let began = Instant::now();
        let mut soaked = soak::SoakResult::default();
        let ran = soak::run(&given, time, &mut soaked);
        if let Err(error) = &ran {
            soaked.figures.add(&figures_of(error));
        }
        let outcome = CaseResult {
            case: "soak".to_owned(),
            layer: Layer::Soak,
            pair: Some(pair),
            seed: self.seed,
            seconds: began.elapsed().as_secs_f32(),
            figures: soaked.figures,
            verdict: Verdict::of(ran),
        };
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let row = self.soak_row(&soaked, &outcome, &results.commit);
        results.soaks.insert(pair.to_string(), row);
        drop(results);
        self.record(outcome);
    }

    fn soak_row(
        &self,
        soaked: &soak::SoakResult,
        outcome: &CaseResult,
        commit: &str,
    ) -> serde_json::Value {
        let figures = &soaked.figures;
        let result = match &outcome.verdict {
            Verdict::Held => "held, accounting balanced",
            Verdict::Broken(_) => "broken",
            Verdict::DidNotRun(_) => "did not run",
        };
        json!({
            "date": report::today(),
            "commit": commit,
            "servers": self.servers.versions(),
            "minutes": (outcome.seconds / 60.0) as u64,
            "seed": self.seed,
            "rounds": soaked.rounds,
            "accepted": figures.accepted,
            "unanswered": figures.unanswered,
            "effects": figures.effects,
            "lost": figures.lost,
            "doubled": figures.doubled,
            "faults": soaked.faults,
            "together": soaked.together,
            "threads": soaked.used.threads,
            "files": soaked.used.files,
            "memory_mib": soaked.used.memory,
            "result": result,
        })
    }
}
