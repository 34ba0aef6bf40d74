//! `hookbox routes`: lists routes, and pauses, resumes and limits them while workers run.

use std::num::NonZeroU32;

use clap::{Args, Subcommand};
use hookbox_config::Config;
use hookbox_driver::{EventRate, Ledger, LimitChange, RouteChange, RouteScope};
use hookbox_event::RouteName;
use hookbox_operations::command::routes::{self, ConfiguredRoute, RouteRequest};

use super::person::{ConfirmArgs, Person, reason};
use super::{names, print};
use crate::compose;
use crate::exit::{self, Exit};

/// The subcommands of `routes`.
#[derive(Debug, Subcommand)]
pub enum RoutesCommand {
    /// List the routes with their pauses and limits
    List,
    /// Let the events of a route wait: workers finish what runs, and take and retry nothing else
    Pause(PauseArgs),
    /// End a pause
    Resume(ResumeArgs),
    /// Set limits of a route for each worker process
    Set(SetArgs),
}

/// The options that select one route or all of them.
#[derive(Debug, Args)]
pub struct ScopeArgs {
    /// The name of the route
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    route: Option<RouteName>,
    /// All routes as a whole. A pause of all routes and a pause of one route are ended separately
    #[arg(long)]
    all: bool,
}

/// Arguments of `routes pause`.
#[derive(Debug, Args)]
pub struct PauseArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// The reason; it is shown in the audit, and wherever the route is shown as paused
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    why: String,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Arguments of `routes resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// The reason, for the audit
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    why: Option<String>,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Arguments of `routes set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// The name of the route
    route: RouteName,
    #[command(flatten)]
    limits: LimitArgs,
    /// The reason, for the audit
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    why: Option<String>,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// The limits to set. At least one is required.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct LimitArgs {
    /// The most events a second for each worker process, such as "5/s" (0.1 to 1000000), or "none"
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<Rate>,
    /// The most transactions at once for each worker process, at most the number in the config; or
    /// "default" for the number in the config
    #[arg(long, value_name = "N", value_parser = concurrency)]
    concurrency: Option<Concurrency>,
}

/// The value of `--rate`: a rate to set, or `none` to remove the limit.
#[derive(Debug, Clone, Copy)]
struct Rate(LimitChange<EventRate>);

/// The value of `--concurrency`: a number to set, or `default` to remove the limit.
#[derive(Debug, Clone, Copy)]
struct Concurrency(LimitChange<NonZeroU32>);

fn rate(text: &str) -> Result<Rate, hookbox_driver::InvalidRate> {
    if text == "none" {
        return Ok(Rate(LimitChange::Clear));
    }
    text.parse().map(|rate| Rate(LimitChange::Set(rate)))
}

fn concurrency(text: &str) -> Result<Concurrency, String> {
    if text == "default" {
        return Ok(Concurrency(LimitChange::Clear));
    }
    // The number must fit into an `i32`, because the store keeps it in a signed column.
    let number = text.parse::<NonZeroU32>().ok();
    let number = number.filter(|number| i32::try_from(number.get()).is_ok());
    let number = number.ok_or_else(|| {
        format!("{text:?} is neither a whole number of at least 1 nor \"default\"")
    })?;
    Ok(Concurrency(LimitChange::Set(number)))
}

impl ScopeArgs {
    fn scope(&self) -> RouteScope {
        // If no route is named, `--all` was given, because clap requires one of the two.
        self.route.clone().map_or(RouteScope::All, RouteScope::One)
    }
}

impl LimitArgs {
    fn change(&self, why: Option<String>) -> RouteChange {
        RouteChange::Limit {
            why,
            rate: self.rate.map_or(LimitChange::Keep, |it| it.0),
            concurrency: self.concurrency.map_or(LimitChange::Keep, |it| it.0),
        }
    }
}

/// Runs a subcommand of `routes`.
pub async fn run(config: &Config, command: &RoutesCommand, json: bool) -> anyhow::Result<Exit> {
    let store = compose::store(config).await?;
    let done = run_on(config, &*store.ledger(), command, json).await;
    store.close().await;
    done
}

async fn run_on(
    config: &Config,
    ledger: &dyn Ledger,
    command: &RoutesCommand,
    json: bool,
) -> anyhow::Result<Exit> {
    let (scope, change, confirm) = match command {
        RoutesCommand::List => {
            print::report(&routes::list(ledger, &configured(config)).await?, json)?;
            return Ok(exit::OK);
        }
        RoutesCommand::Pause(args) => {
            let why = args.why.clone();
            (
                args.scope.scope(),
                RouteChange::Pause { why },
                &args.confirm,
            )
        }
        RoutesCommand::Resume(args) => {
            let why = args.why.clone();
            (
                args.scope.scope(),
                RouteChange::Resume { why },
                &args.confirm,
            )
        }
        RoutesCommand::Set(args) => {
            let scope = RouteScope::One(args.route.clone());
            (scope, args.limits.change(args.why.clone()), &args.confirm)
        }
    };
    if let RouteScope::One(route) = &scope {
        names::check(config, ledger, Some(route), None, None).await?;
    }
    let request = RouteRequest {
        scope,
        change,
        dry_run: confirm.dry_run,
        yes: confirm.yes,
        by: confirm.by.actor(),
    };
    let mut person = Person::new();
    let report = routes::change(ledger, &request, &mut person).await?;
    drop(person);
    print::report(&report, json)?;
    Ok(if report.is_ok() {
        exit::OK
    } else {
        exit::FAILED
    })
}

fn configured(config: &Config) -> Vec<ConfiguredRoute> {
    let routes = config.routes.iter().map(|route| ConfiguredRoute {
        name: route.name.clone(),
        concurrency: u64::try_from(route.concurrency.get()).unwrap_or(u64::MAX),
    });
    routes.collect()
}
