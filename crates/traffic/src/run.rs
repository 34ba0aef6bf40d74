//! Sends all requests of a plan: starts the senders, shows the progress bar, and computes the
//! tally.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookbox_event::{Routing, SourceName};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::expect::{Receiver, sum_up};
use super::journal::Journal;
use super::link::{Link, LinkError};
use super::plan::{Plan, Shares};
use super::sender::{Counts, Shared, Signer, send_all};
use super::tally::{SendTotals, Tally};
use super::target::Target;
use super::terms::Terms;

/// The settings of a run: which requests are sent, how fast, and where to.
pub struct Traffic {
    /// The target.
    pub target: Target,
    /// The source to which the requests are posted. Its name is the first part of the topics of its
    /// events.
    pub source: SourceName,
    /// How requests are signed.
    pub signer: Signer,
    /// The names of the config, the source and the key with which the requests are signed.
    pub terms: Terms,
    /// The seed of the random numbers. It determines all bodies, which requests are sent, and in
    /// which order.
    pub seed: u64,
    /// The number of events.
    pub count: u32,
    /// The shares of events that are duplicated, altered and so on.
    pub shares: Shares,
    /// Requests a second; `None` means as fast as possible.
    pub rate: Option<f64>,
    /// The number of connections.
    pub concurrency: usize,
    /// How often a request is sent again at most while it has no conclusive answer.
    pub retries: u32,
    /// The file in which each request is recorded, if the operator named one.
    pub journal: Option<Arc<Journal>>,
    /// Whether to show a progress bar if standard error is a terminal.
    pub progress: bool,
    /// Which events the routes of the config select. The expected outcomes are listed for each
    /// route.
    pub routing: Routing,
}

/// Sends all requests, or as many as are sent before `stop` is cancelled, and returns the tally.
pub async fn generate(traffic: Traffic, stop: CancellationToken) -> Result<Tally, LinkError> {
    let target = Arc::new(traffic.target);
    let mut first = Link::new(Arc::clone(&target))?;
    first.check().await?;
    let plan = Plan::new(traffic.seed, traffic.count, traffic.shares);
    let requests = plan.requests();
    let shared = Arc::new(Shared {
        seed: traffic.seed,
        shares: traffic.shares,
        signer: traffic.signer,
        target: Arc::clone(&target),
        retries: traffic.retries,
        rate: traffic.rate,
        plan: Mutex::new(plan),
        journal: traffic.journal,
        began: Instant::now(),
        stop,
        progress: bar(traffic.progress, requests),
    });
    let counts = run_senders(&shared, &first, traffic.concurrency).await;
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
    let receiver = Receiver::new(&traffic.source, &traffic.routing);
    let sum = sum_up(&mut sent, shared.seed, &shared.shares, &receiver);
    Ok(Tally::of(
        SendTotals {
            target: target.to_string(),
            signed: traffic.terms,
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
            // Without the counts of the sender that panicked, the tally would be wrong, so the
            // panic is passed on.
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

/// Returns a progress bar on standard error. It is hidden if `shown` is false or standard error is
/// not a terminal.
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
