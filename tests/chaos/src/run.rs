//! Runs the selected cases layer by layer, prints their results and keeps them.

mod soaks;

use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::arguments::Arguments;
use crate::case::{Case, Layer, Proof};
use crate::catalog;
use crate::checker::{Figures, figures_of};
use crate::cluster;
use crate::matrix::{self, Cell};
use crate::others;
use crate::outcome::{CaseResult, Verdict};
use crate::pair::Pair;
use crate::report::{Results, SIMULATION};
use crate::scenario::{self, RunContext};
use crate::servers::Servers;
use crate::tally::Tally;
use hookbox_testkit::chance::fresh_seed;

/// One run of the program: the arguments, the servers and the results so far.
pub struct Run<'a> {
    arguments: &'a Arguments,
    seed: u64,
    servers: Servers,
    results: Mutex<Results>,
    tally: Mutex<Tally>,
}

impl<'a> Run<'a> {
    /// Prepares a run with the seed of the arguments, or a random one.
    pub fn new(arguments: &'a Arguments) -> Self {
        let seed = arguments.seed.unwrap_or_else(fresh_seed);
        eprintln!("seed {seed}");
        Self {
            arguments,
            seed,
            servers: Servers::new(),
            results: Mutex::new(Results::of_this_run()),
            tally: Mutex::default(),
        }
    }

    /// Runs all selected cases. A case that does not hold is reported by the exit code.
    ///
    /// # Errors
    /// When a server or a program cannot be started.
    pub fn all(mut self) -> Result<ExitCode> {
        if let Some(time) = self.arguments.soak() {
            self.soaks(time)?;
            return self.end();
        }
        let (began, time) = (Instant::now(), self.arguments.time().unwrap_or_default());
        loop {
            for layer in Layer::CASES {
                if self.arguments.wants_layer(layer) {
                    self.layer(layer)?;
                }
            }
            let tally = self.tally();
            let is_enough = tally.is_broken() || tally.is_empty();
            drop(tally);
            if is_enough || began.elapsed() >= time {
                return self.end();
            }
            self.seed = self.seed.wrapping_add(1);
        }
    }

    fn layer(&self, layer: Layer) -> Result<()> {
        match layer {
            Layer::Simulation => self.simulation(),
            Layer::Crashes => self.crashes(),
            Layer::Faults => self.faults(),
            Layer::Cluster => self.cluster(),
            Layer::Versions => self.versions(),
            Layer::Tests | Layer::Canaries => self.tests(layer),
            Layer::Soak => Ok(()),
        }
    }

    fn simulation(&self) -> Result<()> {
        let cases = self.cases(|proof| matches!(proof, Proof::Simulation));
        if cases.is_empty() && !self.arguments.wants_case(None, SIMULATION) {
            return Ok(());
        }
        let seeds = if self.arguments.ci { 4_000 } else { 10_000 };
        let began = Instant::now();
        let verdict = others::simulation(seeds, self.seed);
        self.record(CaseResult {
            case: SIMULATION.to_owned(),
            layer: Layer::Simulation,
            pair: None,
            seed: self.seed,
            seconds: began.elapsed().as_secs_f32(),
            figures: Figures::default(),
            verdict,
        });
        Ok(())
    }

    /// Runs the crash-point matrix, and at the same time the cases that may run beside it. This
    /// saves time, because all of them spend most of their time waiting.
    fn crashes(&self) -> Result<()> {
        let parallel = self.cases(|proof| proof.layer() == Layer::Faults);
        let has_parallel = parallel.iter().any(|case| case.is_parallel());
        if !self.runs_parallel_cases() || !has_parallel {
            return self.matrix();
        }
        // The servers are started here, because each of the two threads would start them.
        if self.arguments.wants_pair(Pair::RabbitmqPostgres) {
            self.servers.start()?;
        }
        thread::scope(|scope| {
            let beside = scope.spawn(|| {
                self.on_each_pair(|pair| self.faults_on(pair, &|case| case.is_parallel()))
            });
            let crashed = self.matrix();
            match beside.join() {
                Ok(ran) => crashed.and(ran),
                Err(panicked) => std::panic::resume_unwind(panicked),
            }
        })
    }

    /// Returns whether this run has both the crash-point matrix and the layer of real faults, so
    /// that some cases run beside the matrix.
    fn runs_parallel_cases(&self) -> bool {
        let both = [Layer::Crashes, Layer::Faults];
        both.iter().all(|layer| self.arguments.wants_layer(*layer))
    }

    fn matrix(&self) -> Result<()> {
        let of_cases: Vec<&str> = self
            .cases(|proof| matches!(proof, Proof::Crashes(_)))
            .into_iter()
            .flat_map(|case| case.proofs)
            .flat_map(|proof| match proof {
                Proof::Crashes(points) => *points,
                _ => &[],
            })
            .copied()
            .collect();
        let wanted = |cell: &Cell| {
            let named = self.arguments.wants_case(None, &cell.name());
            let by_case = of_cases.iter().any(|it| cell.point.name.starts_with(it));
            // With `--case`, every selected cell runs, also with `--ci`.
            let is_whole = !self.arguments.ci || self.arguments.case.is_some();
            let in_turn = is_whole || cell.is_in_turn(self.seed);
            self.arguments.wants_pair(cell.pair) && (named || by_case) && in_turn
        };
        let cells: Vec<Cell> = Cell::all().into_iter().filter(wanted).collect();
        if cells.is_empty() {
            return Ok(());
        }
        if cells.iter().any(|cell| cell.pair == Pair::RabbitmqPostgres) {
            self.servers.start()?;
        }
        eprintln!("running {} cells of the crash-point matrix", cells.len());
        matrix::run(&self.servers, cells, self.seed, &|outcome| {
            self.record(outcome)
        });
        Ok(())
    }

    fn faults(&self) -> Result<()> {
        let has_run = |case: &Case| self.runs_parallel_cases() && case.is_parallel();
        self.on_each_pair(|pair| self.faults_on(pair, &|case| !has_run(case)))
    }

    /// Runs `one` on all pairs of broker and store at the same time. This is possible because the
    /// pairs share nothing, and saves time because most of their time is spent waiting.
    fn on_each_pair(&self, one: impl Fn(Pair) -> Result<()> + Sync) -> Result<()> {
        let one = &one;
        thread::scope(|scope| {
            let threads = Pair::ALL
                .into_iter()
                .filter(|&pair| self.arguments.wants_pair(pair))
                .map(|pair| scope.spawn(move || one(pair)));
            // `collect` starts all threads. Without it, each thread would be joined before the next
            // one starts.
            let threads: Vec<_> = threads.collect();
            threads
                .into_iter()
                .try_for_each(|thread| match thread.join() {
                    Ok(ran) => ran,
                    Err(panicked) => std::panic::resume_unwind(panicked),
                })
        })
    }

    /// Runs on this pair of broker and store the cases that `is_wanted` selects, one after the
    /// other.
    fn faults_on(&self, pair: Pair, is_wanted: &dyn Fn(&Case) -> bool) -> Result<()> {
        let cases = self.cases(|_| true).into_iter();
        let mut cases = cases.filter(|case| is_wanted(case));
        cases.try_for_each(|case| self.fault_case(case, pair))
    }

    fn fault_case(&self, case: &Case, pair: Pair) -> Result<()> {
        let (mut figures, mut result, mut any) = (Figures::default(), Ok(()), false);
        let began = Instant::now();
        for proof in case.proofs {
            let (pairs, fast) = match proof {
                Proof::Faults { pairs, fast, .. } | Proof::Scenario { pairs, fast, .. } => {
                    (pairs, *fast)
                }
                _ => continue,
            };
            if !pairs.contains(&pair) || (self.arguments.ci && !fast) {
                continue;
            }
            any = true;
            if pair == Pair::RabbitmqPostgres {
                self.servers.start()?;
            }
            let given = RunContext {
                servers: &self.servers,
                pair,
                seed: self.seed,
                is_quick: self.arguments.ci,
            };
            let ran = match proof {
                Proof::Faults { faults, .. } => scenario::through(&given, faults),
                Proof::Scenario { run, .. } => run(&given),
                _ => continue,
            };
            match ran {
                Ok(more) => figures.add(&more),
                Err(error) => {
                    figures.add(&figures_of(&error));
                    result = Err(error);
                }
            }
            if pair == Pair::RabbitmqPostgres {
                self.servers.heal()?;
            }
        }
        if any {
            self.record(CaseResult {
                case: case.name.to_owned(),
                layer: Layer::Faults,
                pair: Some(pair),
                seed: self.seed,
                seconds: began.elapsed().as_secs_f32(),
                figures,
                verdict: Verdict::of(result),
            });
        }
        Ok(())
    }

    fn cluster(&self) -> Result<()> {
        for case in self.cases(|proof| matches!(proof, Proof::Cluster)) {
            let began = Instant::now();
            let (figures, verdict) = cluster::run(&self.servers, case.number, self.seed);
            self.record_case(case, Layer::Cluster, began, figures, verdict);
        }
        Ok(())
    }

    fn versions(&self) -> Result<()> {
        for case in self.cases(|proof| matches!(proof, Proof::Versions)) {
            let began = Instant::now();
            let verdict = Verdict::of(others::versions());
            self.record_case(case, Layer::Versions, began, Figures::default(), verdict);
        }
        Ok(())
    }

    fn tests(&self, layer: Layer) -> Result<()> {
        let cases = self.cases(|proof| proof.layer() == layer);
        if !cases.is_empty() {
            self.servers.start()?;
        }
        for case in cases {
            let began = Instant::now();
            let mut verdict = Verdict::Held;
            let of_it = case.proofs.iter().filter(|proof| proof.layer() == layer);
            for (package, filters) in of_it.filter_map(Proof::tests) {
                verdict = verdict.and(others::tests(&self.servers, package, filters));
            }
            self.record_case(case, layer, began, Figures::default(), verdict);
        }
        Ok(())
    }

    fn record_case(
        &self,
        case: &Case,
        layer: Layer,
        began: Instant,
        figures: Figures,
        verdict: Verdict,
    ) {
        self.record(CaseResult {
            case: case.name.to_owned(),
            layer,
            pair: None,
            seed: self.seed,
            seconds: began.elapsed().as_secs_f32(),
            figures,
            verdict,
        });
    }

    /// Returns the cases that the arguments select and that have a proof of the kind `kind`.
    fn cases(&self, kind: impl Fn(&Proof) -> bool) -> Vec<&'static Case> {
        catalog::all()
            .filter(|case| self.arguments.wants_case(Some(case.number), case.name))
            .filter(|case| case.proofs.iter().any(&kind))
            .collect()
    }

    fn record(&self, outcome: CaseResult) {
        self.tally().note(&outcome);
        println!("{}", outcome.said(self.arguments.json));
        if matches!(outcome.verdict, Verdict::Broken(_))
            && let Some(crashes) = self.servers.crashes()
        {
            eprintln!("server processes of PostgreSQL have crashed during this run:\n{crashes}");
        }
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.note(&outcome);
        // The results are written after each case, so that an interrupted run keeps its results.
        if !self.arguments.ci
            && let Err(error) = results.write()
        {
            eprintln!("{error:#}");
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(self) -> Result<ExitCode> {
        if !self.arguments.ci {
            let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
            results.write()?;
        }
        let tally = self.tally();
        ensure!(
            !tally.is_empty(),
            "no case of that name runs here: `cargo xtask chaos --list` lists the cases"
        );
        Ok(tally.end())
    }
}
