//! `hookbox generate`: sends many signed events, and prints a tally of their expected outcomes.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use hookbox_config::{Config, SourceConfig};
use hookbox_driver::{Rng as _, SystemRng};
use hookbox_ingest::{EventType, Identity};
use hookbox_operations::render::terminal;
use hookbox_signature::{self as signature, Preset};
use hookbox_traffic::{Journal, Shares, Traffic, generate};
use tokio_util::task::TaskTracker;

use super::print;
use super::send::{ResolvedSource, ToArgs};
use crate::compose;
use crate::exit::{self, Exit};
use crate::signals;

/// Arguments of `generate`. Shares are in percent of the events.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    to: ToArgs,
    /// The number of events; duplicates and conflicts are sent in addition
    #[arg(long, default_value_t = 1_000, value_name = "EVENTS",
        value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    count: u32,
    /// Requests a second; 0 means as fast as possible
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Share of events sent a second time, half of these at once and half later
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    duplicates: f64,
    /// Share of events altered after signing: they must be refused
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    tampered: f64,
    /// Share of signed events that are not JSON or violate their schema: they must be stored and
    /// end as dead letters
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    malformed: f64,
    /// Share of scores that are followed by another body with the same identity: one of the two
    /// bodies is processed, the other one must end as a dead letter
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    conflicts: f64,
    /// Share of events delayed by up to 500 requests, so that they arrive out of order
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    late: f64,
    /// Determines every body, copy and order: the same seed sends the same events again [default: a
    /// random one]
    #[arg(long)]
    seed: Option<u64>,
    /// Number of connections
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    concurrency: u16,
    /// How often to resend a request that was not conclusively answered
    #[arg(long, default_value_t = 10, value_name = "TIMES",
        value_parser = clap::value_parser!(u32).range(0..=1_000))]
    retries: u32,
    /// Append to this file one JSON line for each request made, without its body and signature
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

/// Sends the events and prints the tally, even if Ctrl-C stopped the run.
pub async fn run(config: &Config, args: &GenerateArgs, json: bool) -> anyhow::Result<Exit> {
    let ResolvedSource {
        source,
        signer,
        terms,
        target,
    } = args.to.resolve(config)?;
    let shares = args.shares();
    if let Some(mistake) = shares.mistake() {
        bail!("{mistake}");
    }
    if !args.rate.is_finite() || args.rate < 0.0 {
        bail!("--rate must be a number of requests a second; 0 means as fast as possible");
    }
    if !is_beginis(source) {
        let name = &source.name;
        print::note(&format!(
            "the source {name} does not have the preset \"begini\", or changes its topic, identity \
             or on_conflict: the simulated events are Begini's nevertheless, so the expected \
             outcomes of topics, schemas and conflicts may be wrong"
        ));
    }
    let journal = match &args.journal {
        Some(path) => {
            let journal = Journal::open(path).with_context(|| {
                format!("the file {} of --journal cannot be written", path.display())
            })?;
            Some(Arc::new(journal))
        }
        None => None,
    };
    let traffic = Traffic {
        target,
        source: source.name.clone(),
        signer,
        terms,
        seed: args.seed.unwrap_or_else(random_seed),
        count: args.count,
        shares,
        rate: (args.rate > 0.0).then_some(args.rate),
        concurrency: args.concurrency.into(),
        retries: args.retries,
        journal: journal.clone(),
        progress: std::io::stderr().is_terminal(),
        routing: compose::routing(config)?,
    };
    let stop = signals::shutdown(&TaskTracker::new())?;
    let tally = generate(traffic, stop)
        .await
        .context("nothing was sent; `hookbox dev` starts a server that receives events")?;
    if json {
        let report = serde_json::to_string_pretty(&tally)?;
        print::text(&terminal::json(&format!("{report}\n")))?;
    } else {
        print::text(&tally.text())?;
    }
    if let Some(journal) = journal {
        journal
            .finish()
            .context("lines are missing from the file of --journal")?;
    }
    let is_ok = tally.is_ok() && !tally.interrupted;
    Ok(if is_ok { exit::OK } else { exit::FAILED })
}

/// Returns whether the source uses the topic, the identity and the conflict rules of the preset
/// `begini` unchanged.
fn is_beginis(source: &SourceConfig) -> bool {
    let topic = match &source.topic {
        Some(EventType::Body(pointer)) => Some(pointer.to_string()),
        Some(EventType::Header { .. }) | None => None,
    };
    let identity = match &source.identity {
        Identity::Pointers(pointers) => {
            signature::Identity::Pointers(pointers.iter().map(ToString::to_string).collect())
        }
        Identity::SignedId => signature::Identity::SignedId,
        Identity::Body | Identity::Delivery(_) => signature::Identity::Body,
    };
    let preset = Preset::Begini.on_conflict().into_iter();
    let preset = preset.map(|(topics, action)| (format!("{}.{topics}", source.name), action));
    let rules = source.on_conflict.iter();
    let rules = rules.map(|rule| (rule.topics.as_str().to_owned(), rule.action));
    source.preset == Some(Preset::Begini)
        && rules.eq(preset)
        && topic.as_deref() == Preset::Begini.topic()
        && identity == Preset::Begini.identity()
}

impl GenerateArgs {
    fn shares(&self) -> Shares {
        Shares {
            duplicates: self.duplicates,
            tampered: self.tampered,
            malformed: self.malformed,
            conflicts: self.conflicts,
            late: self.late,
        }
    }
}

/// Returns a random seed of only 32 bits, so that a person can type it again after `--seed`.
fn random_seed() -> u64 {
    let mut bytes = [0; 4];
    SystemRng.fill(&mut bytes);
    u32::from_be_bytes(bytes).into()
}
