//! `hookbox dead`: lists, shows, replays, discards and exports dead letters.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use hookbox_config::{Config, duration};
use hookbox_driver::{DeadChange, DeadFilter, DeadGroupId, DeadReason, DeadState, Ledger};
use hookbox_event::{RouteName, SourceName, Topic};
use hookbox_operations::CommandError;
use hookbox_operations::command::dead::{self, ChangeRequest};
use hookbox_operations::render::Text;

use super::page::{LimitArgs, TimeArgs};
use super::person::{ByArgs, ConfirmArgs, Person, rate};
use super::{names, print};
use crate::compose;
use crate::exit::{self, Exit};

/// The command-line value that selects dead letters of every state.
const ANY: &str = "any";

/// The subcommands of `dead`.
#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// Group dead letters by route, reason and cause, the largest group first
    Groups(GroupsArgs),
    /// List dead letters
    List(ListArgs),
    /// Show one dead letter with its history; the body only with --body
    Show(ShowArgs),
    /// Process dead letters again with a new round of attempts, and report the outcomes
    Replay(ReplayArgs),
    /// Mark dead letters as not to be replayed; nothing is deleted
    Discard(ChangeArgs),
    /// Undo the discard of dead letters
    Restore(ChangeArgs),
    /// Write dead letters with their bodies as JSON lines; this adds a row to the audit
    Export(ExportArgs),
}

/// The options that select dead letters.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Only dead letters of this route
    #[arg(long, value_name = "NAME")]
    route: Option<RouteName>,
    /// Only dead letters of this topic
    #[arg(long)]
    topic: Option<Topic>,
    /// Only dead letters with this reason
    #[arg(long, value_parser = reason())]
    reason: Option<DeadReason>,
    /// Only dead letters of this group, as `dead groups` prints it
    #[arg(long, value_name = "ID")]
    group: Option<DeadGroupId>,
    /// Only dead letters of this source
    #[arg(long, value_name = "NAME")]
    source: Option<SourceName>,
    /// Only dead letters whose detail contains exactly this text
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    #[command(flatten)]
    time: TimeArgs,
}

/// The option that selects dead letters by their state.
#[derive(Debug, Args)]
pub struct StateArgs {
    /// Only dead letters in this state
    #[arg(long, default_value = "dead", value_parser = state())]
    state: AnyState,
}

/// One state, or any state if `None`.
#[derive(Debug, Clone, Copy)]
struct AnyState(Option<DeadState>);

/// Arguments of `dead groups`.
#[derive(Debug, Args)]
pub struct GroupsArgs {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    state: StateArgs,
}

/// Arguments of `dead list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    state: StateArgs,
    /// Resume after the dead letter with this id
    #[arg(
        long,
        default_value_t = 0,
        value_name = "ID",
        hide_default_value = true
    )]
    after: i64,
    /// Also count all dead letters that match the filter
    #[arg(long)]
    total: bool,
    #[command(flatten)]
    limit: LimitArgs,
}

/// Arguments of `dead show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The id of the dead letter
    id: i64,
    /// Also show the body; this adds a row to the audit
    #[arg(long)]
    body: bool,
    #[command(flatten)]
    by: ByArgs,
}

/// Arguments of `dead replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// The most replays a second, such as "5/s"; Ctrl-C stops between two replays
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<f64>,
    /// The most dead letters to replay, in the order of their ids
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// The longest time to wait for the outcomes
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    wait: Duration,
}

/// Arguments of `dead replay`, `dead discard` and `dead restore`.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// The ids of the dead letters
    ids: Vec<i64>,
    #[command(flatten)]
    filter: FilterArgs,
    /// All dead letters; required if neither ids nor a filter is given
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Arguments of `dead export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The ids of the dead letters to export
    ids: Vec<i64>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    state: StateArgs,
    /// The file to create, which only you may read [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    by: ByArgs,
}

fn reason() -> impl TypedValueParser<Value = DeadReason> {
    let words = PossibleValuesParser::new(DeadReason::ALL.map(DeadReason::as_str));
    words.try_map(|word| DeadReason::parse(&word).ok_or("no reason"))
}

fn state() -> impl TypedValueParser<Value = AnyState> {
    let states = DeadState::ALL.into_iter().map(DeadState::as_str);
    PossibleValuesParser::new(states.chain([ANY])).map(|word| AnyState(DeadState::parse(&word)))
}

impl FilterArgs {
    fn filter(&self, ids: &[i64], state: Option<DeadState>) -> DeadFilter {
        DeadFilter {
            ids: ids.to_vec(),
            route: self.route.clone(),
            topic: self.topic.clone(),
            reason: self.reason,
            state,
            group: self.group,
            source: self.source.clone(),
            since: self.time.since,
            until: self.time.until,
            error: self.error.clone(),
        }
    }
}

/// Runs a subcommand of `dead`.
pub async fn run(config: &Config, command: &DeadCommand, json: bool) -> anyhow::Result<Exit> {
    let store = compose::store(config).await?;
    let ledger = store.ledger();
    let done = run_on(config, &*ledger, command, json).await;
    store.close().await;
    done
}

/// Returns the filter of a subcommand, if the subcommand has one.
fn filter_of(command: &DeadCommand) -> Option<&FilterArgs> {
    match command {
        DeadCommand::Groups(args) => Some(&args.filter),
        DeadCommand::List(args) => Some(&args.filter),
        DeadCommand::Show(_) => None,
        DeadCommand::Replay(args) => Some(&args.change.filter),
        DeadCommand::Discard(args) | DeadCommand::Restore(args) => Some(&args.filter),
        DeadCommand::Export(args) => Some(&args.filter),
    }
}

async fn run_on(
    config: &Config,
    ledger: &dyn Ledger,
    command: &DeadCommand,
    json: bool,
) -> anyhow::Result<Exit> {
    if let Some(filter) = filter_of(command) {
        let (route, topic) = (filter.route.as_ref(), filter.topic.as_ref());
        names::check(config, ledger, route, topic, filter.source.as_ref()).await?;
    }
    match command {
        DeadCommand::Groups(args) => {
            let filter = args.filter.filter(&[], args.state.state.0);
            print::report(&dead::groups(ledger, &filter).await?, json)?;
        }
        DeadCommand::List(args) => {
            let filter = args.filter.filter(&[], args.state.state.0);
            let (after, limit) = (args.after, args.limit.limit);
            let report = dead::list(ledger, &filter, after, limit, args.total).await?;
            print::report(&report, json)?;
        }
        DeadCommand::Show(args) => {
            let by = args.by.actor();
            let reveal = args.body.then_some(by.as_str());
            print::report(&dead::show(ledger, args.id, reveal).await?, json)?;
        }
        DeadCommand::Replay(args) => {
            let request = ChangeRequest {
                rate: args.rate,
                limit: args.limit,
                wait: args.wait,
                ..request(DeadChange::Replay, &args.change)
            };
            return change(ledger, &request, json).await;
        }
        DeadCommand::Discard(args) => {
            return change(ledger, &request(DeadChange::Discard, args), json).await;
        }
        DeadCommand::Restore(args) => {
            return change(ledger, &request(DeadChange::Restore, args), json).await;
        }
        DeadCommand::Export(args) => return export(ledger, args, json).await,
    }
    Ok(exit::OK)
}

fn request(change: DeadChange, args: &ChangeArgs) -> ChangeRequest {
    ChangeRequest {
        change,
        filter: args.filter.filter(&args.ids, None),
        all: args.all,
        dry_run: args.confirm.dry_run,
        yes: args.confirm.yes,
        by: args.confirm.by.actor(),
        rate: None,
        limit: None,
        wait: Duration::ZERO,
    }
}

async fn change(ledger: &dyn Ledger, request: &ChangeRequest, json: bool) -> anyhow::Result<Exit> {
    let mut person = Person::new();
    let report = dead::change(ledger, request, &mut person).await?;
    drop(person);
    print::report(&report, json)?;
    // If an id on the command line belongs to no dead letter that could be changed, the command
    // fails. If a filter matches no dead letter, the command succeeds.
    let named = report.not_found > 0 || (report.left_alone > 0 && !request.filter.ids.is_empty());
    let well = !report.interrupted && report.problems.is_empty() && !named;
    Ok(if well { exit::OK } else { exit::FAILED })
}

async fn export(ledger: &dyn Ledger, args: &ExportArgs, json: bool) -> anyhow::Result<Exit> {
    let filter = args.filter.filter(&args.ids, args.state.state.0);
    let mut person = Person::new();
    let by = args.by.actor();
    let output = args.output.as_deref();
    let exported = dead::export(ledger, &filter, output, &mut io::stdout(), &by, &mut person).await;
    drop(person);
    let report = match exported {
        // The reader has closed the pipe (as `| head` does), which is not an error.
        Err(CommandError::Output { source, .. })
            if output.is_none() && source.kind() == io::ErrorKind::BrokenPipe =>
        {
            return Ok(exit::OK);
        }
        exported => exported?,
    };
    if args.output.is_some() {
        print::report(&report, json)?;
    } else {
        // The export occupies standard output, so its result is printed on standard error.
        print::note(report.text().trim_end());
    }
    // As with a change, an id on the command line that selects no dead letter is a failure.
    let well = !report.interrupted && report.problems.is_empty() && report.not_found == 0;
    Ok(if well { exit::OK } else { exit::FAILED })
}
