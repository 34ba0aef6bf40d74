//! A whole run: the senders, the progress bar, and the tally.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookbox_event::{RouteName, SourceName, TopicPattern};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::expect::sum_up;
use super::journal::Journal;
use super::link::{Link, LinkError};
use super::plan::{Plan, Shares};
use super::sender::{Counts, Shared, Signer, send_all};
use super::tally::{SendTotals, Tally};
use super::target::Target;
use super::terms::Terms;

/// What to send, and how.
pub struct Simulation {
    /// The target.
    pub target: Target,
    /// The source, whose name starts its topics.
    pub source: SourceName,
    /// How requests are signed.
    pub signer: Signer,
    /// The config, source and key that the requests are signed with.
    pub terms: Terms,
    /// Decides every body, copy and order.
    pub seed: u64,
    /// How many events.
    pub count: u32,
    /// The shares of events that are duplicated, altered and so on.
    pub shares: Shares,
    /// Requests a second; none is as fast as possible.
    pub rate: Option<f64>,
    /// Connections.
    pub concurrency: usize,
    /// How often a request that was not conclusively answered is sent again.
    pub retries: u32,
    /// Where each request is recorded.
    pub journal: Option<Arc<Journal>>,
    /// Whether a bar is shown, on a terminal.
    pub progress: bool,
    /// The routes of the config with their topics: the expected outcomes are listed for each of
    /// them.
    pub routes: Vec<(RouteName, Vec<TopicPattern>)>,
}

/// Sends everything, or as much as is sent before `stop`.
pub async fn simulate(simulation: Simulation, stop: CancellationToken) -> Result<Tally, LinkError> {
    let target = Arc::new(simulation.target);
    let mut first = Link::new(Arc::clone(&target))?;
    first.check().await?;
    let plan = Plan::new(simulation.seed, simulation.count, simulation.shares);
    let requests = plan.requests();
    let shared = Arc::new(Shared {
        seed: simulation.seed,
        shares: simulation.shares,
        signer: simulation.signer,
        target: Arc::clone(&target),
        retries: simulation.retries,
        rate: simulation.rate,
        plan: Mutex::new(plan),
        journal: simulation.journal,
        began: Instant::now(),
        stop,
        progress: bar(simulation.progress, requests),
    });
    let counts = run_senders(&shared, &first, simulation.concurrency).await;
    let took = shared.began.elapsed();
    shared.progress.finish_and_clear();
    let Counts {
        mut sent,
        attempts,
        answers,
        unknown,
        unreachable,
        latencies,
    } = counts;
    let sum = sum_up(&mut sent, shared.seed, &shared.shares, &simulation.source);
    Ok(Tally::of(
        SendTotals {
            target: target.to_string(),
            signed: simulation.terms,
            seed: shared.seed,
            planned: requests,
            made: sent.len() as u64,
            attempts,
            answers,
            unknown,
            unreachable,
            latencies,
            took,
        },
        sum,
        &simulation.routes,
    ))
}

async fn run_senders(shared: &Arc<Shared>, link: &Link, concurrency: usize) -> Counts {
    let mut senders = JoinSet::new();
    for _ in 0..concurrency.max(1) {
        senders.spawn(send_all(Arc::clone(shared), link.sibling()));
    }
    let mut all = Counts::default();
    while let Some(ended) = senders.join_next().await {
        match ended {
            Ok(counts) => all.merge(counts),
            // A sender that panicked would make the tally wrong: the run must not end with one.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    all
}

impl Counts {
    fn merge(&mut self, other: Self) {
        self.sent.extend(other.sent);
        self.latencies.extend(other.latencies);
        self.attempts += other.attempts;
        self.unknown += other.unknown;
        self.unreachable += other.unreachable;
        for (status, count) in other.answers {
            *self.answers.entry(status).or_default() += count;
        }
    }
}

/// On standard error, and only where that is a terminal.
fn bar(shown: bool, requests: u64) -> ProgressBar {
    if !shown {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(requests);
    let template = "{bar:40} {human_pos}/{human_len} requests  {per_sec}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
