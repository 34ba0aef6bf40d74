//! `hookbox reconcile`: checks whether every accepted receipt has an outcome.

use std::time::Duration;

use clap::Args;
use hookbox_config::{Config, duration};
use hookbox_operations::command::reconcile::{
    self, AcceptRestore, ReconcileReport, RestoreAccepted, Storage, WriteOff,
};
use hookbox_worker::{EFFECT_IN_FLIGHT_MAX, handler_in_flight_max};

use super::person::{ByArgs, Person, reason};
use super::print;
use super::queues::Sources;
use crate::compose::Registry;
use crate::exit::{self, Exit};

/// How long a message may be in flight beyond the time for its handler or its leases. This time
/// covers a pause of the worker (at most five seconds), a wait for a lock, and a commit.
const COMMIT_MARGIN: Duration = Duration::from_secs(15);

/// Arguments of `reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// Wait at most this long ("30s", "5 min") until nothing is in flight and no retry waits; exits
    /// with 1 if work is still in progress then. A receipt without an outcome counts as missing
    /// when nothing has changed for a little longer than a handler may run on a batch, or than an
    /// event may wait for its external call
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
    /// After the check, write off the missing receipts with the given reason: they are lost for
    /// good and are no longer listed. At most 100 receipts at a time; each adds a row to the audit
    #[arg(long, value_name = "REASON", group = "change", value_parser = reason)]
    write_off: Option<String>,
    /// Before the check, accept, with the given reason, that store and broker contradict each
    /// other: one of them was restored or replaced, and the provider has been asked to send the
    /// lost events again. This adds a row to the audit, and later reports list the accepted restore
    #[arg(long, value_name = "REASON", group = "change", value_parser = reason)]
    accept_restore: Option<String>,
    /// Do not ask for confirmation
    #[arg(long, requires = "change")]
    yes: bool,
    #[command(flatten)]
    by: ByArgs,
}

/// Runs `reconcile`.
pub async fn run(
    config: &Config,
    args: &ReconcileArgs,
    handlers: &Registry,
    json: bool,
) -> anyhow::Result<Exit> {
    let sources = Sources::open(config).await?;
    let mut person = Person::new();
    if args.wait.is_some() {
        person.listen()?;
    }
    let (broker, store) = (&sources.broker, &sources.store);
    if let Some(why) = &args.accept_restore {
        let accepted = accept(&sources, args, why, &mut person).await?;
        // With `--json` only the report of the check below is printed. That report also lists the
        // restores that operators have accepted, including this one.
        if !json {
            print::report(&accepted, json)?;
        }
    }
    let in_flight_max = in_flight_max(config, handlers);
    let storage = if config.is_one_file() {
        Storage::OneFile
    } else {
        Storage::Apart
    };
    let mut report = reconcile::reconcile(
        broker,
        store,
        storage,
        args.wait,
        in_flight_max,
        &mut person,
    )
    .await;
    report.compare_config(|route| config.routes.iter().any(|it| it.name.as_str() == route));
    let mut after = None;
    let written = match (&args.write_off, store.opened()) {
        (Some(why), Ok((ledger, _))) => {
            let request = WriteOff {
                why: why.clone(),
                by: args.by.actor(),
                yes: args.yes,
            };
            let written = reconcile::write_off(&**ledger, &report, &request, &mut person).await;
            after = Some(reconcile::reconcile_again(broker, store, &report).await);
            Some(written)
        }
        (Some(_) | None, _) => None,
    };
    sources.close().await;
    if let (Some(written), Some(after)) = (written, after) {
        // For people, the report of the check is printed before the list of what was written off.
        // With `--json` only that list is printed, because it is the result of this command.
        if !json {
            print::report(&report, json)?;
        }
        let mut written = written?;
        written.verdict = Some(after.verdict);
        print::report(&written, json)?;
        return Ok(code(&after));
    }
    print::report(&report, json)?;
    Ok(code(&report))
}

fn code(report: &ReconcileReport) -> Exit {
    if report.is_ok() {
        exit::OK
    } else {
        exit::FAILED
    }
}

async fn accept(
    sources: &Sources,
    args: &ReconcileArgs,
    why: &str,
    person: &mut Person,
) -> anyhow::Result<RestoreAccepted> {
    let unavailable = |what: &str, why: &str| {
        anyhow::anyhow!("nothing was accepted: the {what} cannot be reached: {why}")
    };
    let broker = sources.broker.opened();
    let (broker, _) = broker.map_err(|why| unavailable("broker", why))?;
    let ledger = sources.store.opened();
    let (ledger, _) = ledger.map_err(|why| unavailable("store", why))?;
    let request = AcceptRestore {
        why: why.to_owned(),
        by: args.by.actor(),
        yes: args.yes,
    };
    Ok(reconcile::accept_restore(&**broker, &**ledger, &request, person).await?)
}

/// Returns how long a message may be in flight without a visible change: the longest time of all
/// routes for a handler or for leases, and the time for a pause of the worker and a commit.
fn in_flight_max(config: &Config, handlers: &Registry) -> Duration {
    let of_routes = config.routes.iter().map(|route| {
        if handlers.is_effect(route) {
            EFFECT_IN_FLIGHT_MAX
        } else {
            handler_in_flight_max(route.handler_time_limit)
        }
    });
    of_routes.max().unwrap_or_default() + COMMIT_MARGIN
}
