//! `hookbox events`: what came in, and where it stands.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use hookbox_console::command::events;
use hookbox_driver::{ClaimState, EventFilter};
use hookbox_event::{RouteName, Topic};

use super::person::ByArgs;
use super::print;
use crate::compose;
use crate::config::Config;
use crate::exit::{self, Exit};

/// The states that an event can be in on a route.
const STATES: [ClaimState; 4] = [
    ClaimState::Running,
    ClaimState::Done,
    ClaimState::Retrying,
    ClaimState::Dead,
];

/// What to do with events.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// List events, newest first, by the store
    List(ListArgs),
    /// Show one event with its claims, receipts, attempts and retries; never its body unless asked
    Show(ShowArgs),
}

/// Arguments of `events list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only of this route
    #[arg(long, value_name = "NAME")]
    route: Option<RouteName>,
    /// Only of this topic
    #[arg(long)]
    topic: Option<Topic>,
    /// Only in this state
    #[arg(long, value_parser = state())]
    state: Option<ClaimState>,
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

/// Arguments of `events show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The event's id, or how it begins: at least 4 hex digits; or the whole id of a receipt
    id: String,
    /// Show the body, too; that leaves a row in the audit
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

/// Runs it.
pub async fn run(config: &Config, command: &EventsCommand, json: bool) -> anyhow::Result<Exit> {
    let store = compose::store(config).await?;
    let ledger = store.ledger();
    let printed = match command {
        EventsCommand::List(args) => {
            let filter = EventFilter {
                route: args.route.clone(),
                topic: args.topic.clone(),
                state: args.state,
            };
            let report = events::list(&*ledger, &filter, args.limit).await?;
            print::report(&report, json)
        }
        EventsCommand::Show(args) => {
            let by = args.by.actor();
            let reveal = args.body.then_some(by.as_str());
            let report = events::show(&*ledger, &args.id, reveal).await?;
            print::report(&report, json)
        }
    };
    store.close().await;
    printed?;
    Ok(exit::OK)
}
