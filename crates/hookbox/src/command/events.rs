//! `hookbox events`: lists and shows events and their state, follows their ends, and puts stored
//! events on a route.

mod follow;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use hookbox_config::Config;
use hookbox_driver::{ClaimState, EventCursor, EventFilter, Ledger};
use hookbox_event::{RouteName, SourceName, Topic};
use hookbox_operations::command::events;

use follow::FollowArgs;

use super::page::{LimitArgs, TimeArgs};
use super::person::ByArgs;
use super::replay::{self, ReplayArgs};
use super::{names, print};
use crate::compose::{self, Registry};
use crate::exit::{self, Exit};

/// The states that an event can have on a route.
const STATES: [ClaimState; 5] = [
    ClaimState::Running,
    ClaimState::Done,
    ClaimState::Retrying,
    ClaimState::Dead,
    ClaimState::Stale,
];

/// The subcommands of `events`.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// List the events in the store, newest first
    List(ListArgs),
    /// Show one event with its claims, receipts, attempts and retries; the body only with --body
    Show(ShowArgs),
    /// Print the ends of events on routes (done, dead, discarded, stale) in the order of their
    /// commits, and wait for more; Ctrl-C prints the cursor to resume from
    Follow(FollowArgs),
    /// Put stored events on a route: events that the route never had, and events that are done on
    /// it
    Replay(ReplayArgs),
}

/// Arguments of `events list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only events of this route
    #[arg(long, value_name = "NAME")]
    route: Option<RouteName>,
    /// Only events of this topic
    #[arg(long)]
    topic: Option<Topic>,
    /// Only events in this state
    #[arg(long, value_parser = state())]
    state: Option<ClaimState>,
    /// Only events of this source
    #[arg(long, value_name = "NAME")]
    source: Option<SourceName>,
    /// Only events with an attempt or a dead letter whose error contains exactly this text
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    #[command(flatten)]
    time: TimeArgs,
    /// Resume after the page that printed this cursor
    #[arg(long, value_name = "CURSOR")]
    after: Option<EventCursor>,
    #[command(flatten)]
    limit: LimitArgs,
}

/// Arguments of `events show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The id of the event or its beginning (at least 4 hex digits), or the whole id of a receipt
    id: String,
    /// Also show the body; this adds a row to the audit
    #[arg(long)]
    body: bool,
    #[command(flatten)]
    by: ByArgs,
}

fn state() -> impl TypedValueParser<Value = ClaimState> {
    let words = PossibleValuesParser::new(STATES.map(ClaimState::as_str));
    words.try_map(|word| {
        let mut states = STATES.into_iter();
        states
            .find(|state| state.as_str() == word)
            .ok_or("no state")
    })
}

/// Runs a subcommand of `events`.
pub async fn run(
    config: &Config,
    command: &EventsCommand,
    handlers: &Registry,
    json: bool,
) -> anyhow::Result<Exit> {
    let store = compose::store(config).await?;
    let ledger = store.ledger();
    let done = run_on(config, &*ledger, command, handlers, json).await;
    store.close().await;
    done
}

async fn run_on(
    config: &Config,
    ledger: &dyn Ledger,
    command: &EventsCommand,
    handlers: &Registry,
    json: bool,
) -> anyhow::Result<Exit> {
    match command {
        EventsCommand::List(args) => {
            let (route, topic) = (args.route.as_ref(), args.topic.as_ref());
            names::check(config, ledger, route, topic, args.source.as_ref()).await?;
            let filter = EventFilter {
                route: args.route.clone(),
                topic: args.topic.clone(),
                state: args.state,
                source: args.source.clone(),
                since: args.time.since,
                until: args.time.until,
                error: args.error.clone(),
            };
            let after = args.after.as_ref();
            let report = events::list(ledger, &filter, after, args.limit.limit).await?;
            print::report(&report, json)?;
        }
        EventsCommand::Show(args) => {
            let by = args.by.actor();
            let reveal = args.body.then_some(by.as_str());
            let report = events::show(ledger, &args.id, reveal).await?;
            print::report(&report, json)?;
        }
        EventsCommand::Follow(args) => {
            names::check(config, ledger, args.route.as_ref(), None, None).await?;
            follow::run(ledger, args, json).await?;
        }
        EventsCommand::Replay(args) => {
            return replay::run(config, ledger, args, handlers, json).await;
        }
    }
    Ok(exit::OK)
}
