//! `hookbox events follow`: prints the ends of events on routes as they are committed.

use std::time::Duration;

use clap::Args;
use hookbox_driver::{EndCursor, Holder, Ledger};
use hookbox_event::RouteName;
use hookbox_operations::command::follow::{self, HeldBackNote, NextEnd};
use hookbox_operations::render::{Text, json_line};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::command::person::Person;
use crate::command::print;

/// The time between two polls for more ends. A poll that finds none reads only a few index entries,
/// so one poll a second is no load. An end is printed at most about a second after its commit.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// The maximum number of ends that one query reads. With a small number, printing begins soon and
/// the command needs little memory.
const PAGE: u32 = 500;

/// How long committed ends are held back before the command reports what holds them back. A shorter
/// time is normal, because a worker holds ends back for as long as it runs a batch.
const REPORTED_FROM: Duration = Duration::from_secs(10);

/// Arguments of `events follow`.
#[derive(Debug, Args)]
pub struct FollowArgs {
    /// Only ends on this route
    #[arg(long, value_name = "NAME")]
    pub route: Option<RouteName>,
    /// Continue after the end that was printed with this cursor [default: from the first end]
    #[arg(long, value_name = "CURSOR")]
    after: Option<EndCursor>,
    /// Stop after this many ends [default: no limit]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Stop when no more ends can be read now, instead of waiting for more
    #[arg(long)]
    once: bool,
}

/// Prints ends until the limit is reached, until no more can be read (only with `--once`), until
/// Ctrl-C, or until standard output is closed. Then, even after an error, prints the cursor from
/// which the command can be resumed.
pub async fn run(ledger: &dyn Ledger, args: &FollowArgs, json: bool) -> anyhow::Result<()> {
    let mut person = Person::new();
    let stop = person.listen()?;
    let mut follower = Follower {
        ledger,
        args,
        json,
        after: args.after.clone(),
        left: args.limit,
        reported: None,
    };
    let followed = follower.follow(&stop).await;
    if let Some(after) = &follower.after {
        let next = NextEnd {
            next: after.to_string(),
        };
        follower.note(&next);
    }
    followed
}

struct Follower<'a> {
    ledger: &'a dyn Ledger,
    args: &'a FollowArgs,
    json: bool,
    /// Where the next page starts: the cursor of the last printed end, or a later cursor.
    after: Option<EndCursor>,
    /// How many ends are still to be printed; `None` without a limit.
    left: Option<u32>,
    /// What was last reported to hold ends back; `None` if nothing was reported. The same holder is
    /// not reported again. The inner `None` stands for an unknown holder.
    reported: Option<Option<Holder>>,
}

impl Follower<'_> {
    async fn follow(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        loop {
            let page = tokio::select! {
                page = self.print_page() => page?,
                () = stop.cancelled() => return Ok(()),
            };
            match page {
                Printed::Enough => return Ok(()),
                Printed::MoreFollow => continue,
                Printed::All => {}
            }
            self.report_held_back().await?;
            if self.args.once {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(POLL_EVERY) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Reads and prints the next page. This future waits only while it reads from the store. So if
    /// it is cancelled, nothing of the page is printed.
    async fn print_page(&mut self) -> anyhow::Result<Printed> {
        let limit = self.left.map_or(PAGE, |left| left.min(PAGE));
        let (after, route) = (self.after.as_ref(), self.args.route.as_ref());
        let page = follow::page(self.ledger, after, route, limit).await?;
        let lines: String = page.ends.iter().map(|end| self.line(end)).collect();
        if !lines.is_empty() && !print::text_while_read(&lines)? {
            return Ok(Printed::Enough);
        }
        if page.next.is_some() {
            self.after = page.next;
        }
        let count = u32::try_from(page.ends.len()).unwrap_or(u32::MAX);
        self.left = self.left.map(|left| left.saturating_sub(count));
        Ok(match (self.left, page.more) {
            (Some(0), _) => Printed::Enough,
            (_, true) => Printed::MoreFollow,
            (_, false) => Printed::All,
        })
    }

    /// Reports what holds committed ends back, once for each holder.
    async fn report_held_back(&mut self) -> anyhow::Result<()> {
        let held = follow::held_back(self.ledger).await?;
        let Some(held) = held.filter(|held| held.age >= REPORTED_FROM) else {
            self.reported = None;
            return Ok(());
        };
        if self.reported.as_ref() != Some(&held.by) {
            self.note(&HeldBackNote::from(&held));
            self.reported = Some(held.by);
        }
        Ok(())
    }

    fn line(&self, line: &(impl Text + Serialize)) -> String {
        if self.json {
            json_line(line)
        } else {
            line.text()
        }
    }

    /// Prints a note on standard error, so that standard output contains only ends.
    fn note(&self, note: &(impl Text + Serialize)) {
        print::note(self.line(note).trim_end());
    }
}

/// What is left to do after a page was printed.
enum Printed {
    /// Stop: the limit is reached, or standard output is closed.
    Enough,
    /// Read the next page at once.
    MoreFollow,
    /// Every end that can be read now is printed.
    All,
}
