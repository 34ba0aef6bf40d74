//! `hookbox dead`: what routes have given up on, and what to do about it.

use std::io;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use hookbox_console::CommandError;
use hookbox_console::command::dead::{self, Change, ChangeRequest};
use hookbox_console::render::Text;
use hookbox_driver::{DeadFilter, DeadReason, DeadState, Ledger};
use hookbox_event::{RouteName, Topic};

use super::person::{ByArgs, Person};
use super::print;
use crate::compose;
use crate::config::Config;
use crate::exit::{self, Exit};

/// The word for every state.
const ANY: &str = "any";

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// Group them by what they died of, the largest group first
    Groups(GroupsArgs),
    /// List them
    List(ListArgs),
    /// Show one with its history; never its body unless asked
    Show(ShowArgs),
    /// Have them processed again, with a fresh round of attempts
    Replay(ChangeArgs),
    /// Mark them as not to be replayed; nothing is deleted
    Discard(ChangeArgs),
    /// Take a discard back
    Restore(ChangeArgs),
    /// Write them with their bodies as JSON lines; that leaves a row in the audit
    Export(ExportArgs),
}

/// Which dead letters.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Only of this route
    #[arg(long, value_name = "NAME")]
    route: Option<RouteName>,
    /// Only of this topic
    #[arg(long)]
    topic: Option<Topic>,
    /// Only those that died of this
    #[arg(long, value_parser = reason())]
    reason: Option<DeadReason>,
}

/// Which state.
#[derive(Debug, Args)]
pub struct StateArgs {
    /// In this state
    #[arg(long, default_value = "dead", value_parser = state())]
    state: AnyState,
}

/// One state, or any.
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
    /// Go on after this id
    #[arg(
        long,
        default_value_t = 0,
        value_name = "ID",
        hide_default_value = true
    )]
    after: i64,
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

/// Arguments of `dead show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Its id
    id: i64,
    /// Show the body, too; that leaves a row in the audit
    #[arg(long)]
    body: bool,
    #[command(flatten)]
    by: ByArgs,
}

/// Arguments of `dead replay`, `dead discard` and `dead restore`.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// Their ids
    ids: Vec<i64>,
    #[command(flatten)]
    filter: FilterArgs,
    /// All there are, where neither ids nor a filter is given
    #[arg(long)]
    all: bool,
    /// Only say how many it would be
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    by: ByArgs,
}

/// Arguments of `dead export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Only these ids
    ids: Vec<i64>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    state: StateArgs,
    /// Where to: a new file, for your eyes only [default: standard output]
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
        }
    }
}

/// Runs it.
pub async fn run(config: &Config, command: &DeadCommand, json: bool) -> anyhow::Result<Exit> {
    let store = compose::store(config).await?;
    let ledger = store.ledger();
    let done = run_on(&*ledger, command, json).await;
    store.close().await;
    done
}

async fn run_on(ledger: &dyn Ledger, command: &DeadCommand, json: bool) -> anyhow::Result<Exit> {
    match command {
        DeadCommand::Groups(args) => {
            let filter = args.filter.filter(&[], args.state.state.0);
            print::report(&dead::groups(ledger, &filter).await?, json)?;
        }
        DeadCommand::List(args) => {
            let filter = args.filter.filter(&[], args.state.state.0);
            let report = dead::list(ledger, &filter, args.after, args.limit).await?;
            print::report(&report, json)?;
        }
        DeadCommand::Show(args) => {
            let by = args.by.actor();
            let reveal = args.body.then_some(by.as_str());
            print::report(&dead::show(ledger, args.id, reveal).await?, json)?;
        }
        DeadCommand::Replay(args) => return change(ledger, Change::Replay, args, json).await,
        DeadCommand::Discard(args) => return change(ledger, Change::Discard, args, json).await,
        DeadCommand::Restore(args) => return change(ledger, Change::Restore, args, json).await,
        DeadCommand::Export(args) => return export(ledger, args, json).await,
    }
    Ok(exit::OK)
}

async fn change(
    ledger: &dyn Ledger,
    change: Change,
    args: &ChangeArgs,
    json: bool,
) -> anyhow::Result<Exit> {
    let request = ChangeRequest {
        change,
        filter: args.filter.filter(&args.ids, None),
        all: args.all,
        dry_run: args.dry_run,
        yes: args.yes,
        by: args.by.actor(),
    };
    let mut person = Person::new();
    let report = dead::change(ledger, &request, &mut person).await?;
    drop(person);
    print::report(&report, json)?;
    // What was named one by one must all have been there; a filter may mean none.
    let named = report.not_found > 0 || (report.left_alone > 0 && !args.ids.is_empty());
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
        // The reader has closed the pipe (`| head`), which is no error.
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
        // Standard output is the export; what became of it is told beside it.
        print::note(report.text().trim_end());
    }
    let well = !report.interrupted && report.problems.is_empty();
    Ok(if well { exit::OK } else { exit::FAILED })
}
