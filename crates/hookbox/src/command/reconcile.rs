//! `hookbox reconcile`: does every accepted receipt have an outcome?

use std::time::Duration;

use clap::Args;
use hookbox_console::Reach;
use hookbox_console::command::reconcile::{
    self, AcceptRestore, ReconcileReport, RestoreAccepted, Storage, WriteOff,
};

use super::person::{ByArgs, Person};
use super::print;
use super::queues::Sources;
use crate::config::{Config, duration};
use crate::exit::{self, Exit};

/// What a worker may take besides its handler: a pause of five seconds, a lock, and a commit.
const COMMIT_MARGIN: Duration = Duration::from_secs(15);

/// Arguments of `reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// Wait at most so long ("30s", "5 min") until nothing is in flight and nothing waits for a
    /// retry; exits with 1 when work is still in progress then. A receipt without an outcome is
    /// missing when nothing has changed for as long as a handler may run, and a little more
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
    /// Then write off what is missing, with the given reason: it is lost for good, and is not
    /// reported again. At most 100 receipts at a time; each adds a row to the audit
    #[arg(long, value_name = "REASON", group = "change")]
    write_off: Option<String>,
    /// First accept, with the given reason, that store and broker contradict each other because one
    /// of them was restored or replaced: the provider has been asked for what is lost. It adds a
    /// row to the audit, and is listed from then on
    #[arg(long, value_name = "REASON", group = "change")]
    accept_restore: Option<String>,
    /// Skip the question
    #[arg(long, requires = "change")]
    yes: bool,
    #[command(flatten)]
    by: ByArgs,
}

/// Runs it.
pub async fn run(config: &Config, args: &ReconcileArgs, json: bool) -> anyhow::Result<Exit> {
    let sources = Sources::open(config).await?;
    let mut person = Person::new();
    if args.wait.is_some() {
        person.listen()?;
    }
    let (broker, store) = (&sources.broker, &sources.store);
    if let Some(why) = &args.accept_restore {
        let accepted = accept(&sources, args, why, &mut person).await?;
        // With --json the report lists it.
        if !json {
            print::report(&accepted, json)?;
        }
    }
    let in_flight_max = in_flight_max(config);
    let storage = if config.is_one_file() {
        Storage::OneFile
    } else {
        Storage::Apart
    };
    let report = reconcile::reconcile(
        broker,
        store,
        storage,
        args.wait,
        in_flight_max,
        &mut person,
    )
    .await;
    let mut after = None;
    let written = match (&args.write_off, store) {
        (Some(why), Reach::Open(ledger)) => {
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
        // What was missing goes to standard error: the result is what was written off.
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
    let broker = match &sources.broker {
        Reach::Open(broker) => broker,
        Reach::Unavailable(why) => return Err(unavailable("broker", why)),
    };
    let ledger = match &sources.store {
        Reach::Open(ledger) => ledger,
        Reach::Unavailable(why) => return Err(unavailable("store", why)),
    };
    let request = AcceptRestore {
        why: why.to_owned(),
        by: args.by.actor(),
        yes: args.yes,
    };
    Ok(reconcile::accept_restore(&**broker, &**ledger, &request, person).await?)
}

/// How long a message may be in flight without a visible change: a handler to its time limit, and
/// then a pause and a commit.
fn in_flight_max(config: &Config) -> Duration {
    let limits = config.routes.iter().map(|route| route.handler_time_limit);
    limits.max().unwrap_or_default() + COMMIT_MARGIN
}
