//! Formats the reports of the commands `routes …` as text.

use hookbox_driver::RouteScope;

use super::Text;
use super::pauses::{cause, pauses};
use super::table::{Align, Table, count, safe};
use crate::command::routes::{RouteLine, RouteReport, RouteVerb, RoutesReport};

/// When a change takes effect, for the end of a message about the change.
const FOLLOW: &str =
    "workers notice this within two seconds, and apply it when their running events are finished";

impl Text for RoutesReport {
    fn text(&self) -> String {
        let mut table = Table::new(&[
            ("ROUTE", Align::Left),
            ("STATE", Align::Left),
            ("RATE PER WORKER", Align::Right),
            ("CONCURRENCY PER WORKER", Align::Right),
        ]);
        for line in &self.routes {
            table.row(cells(line));
        }
        let shown = count(self.routes.len() as u64, "route", "routes");
        let paused = self.routes.iter();
        let paused = paused.filter_map(|line| Some((line.route.as_str(), line.paused.as_ref()?)));
        let deferring: String = self.routes.iter().map(deferring).collect();
        let targets = self.targets_in_trouble.iter();
        let targets: String = targets.map(|name| target(name)).collect();
        format!(
            "store: {shown}\n{}{}{deferring}{targets}",
            table.write(""),
            pauses(paused)
        )
    }
}

/// Formats the line about a target that is not reached.
fn target(name: &str) -> String {
    let name = safe(name);
    format!("target {name} is not reached, or asked for a pause: see `hookbox targets list`\n")
}

/// Formats one line for each of two reasons why events of a route wait: a missing right, and a
/// target that is not reached. Either may concern all events of the route.
fn deferring(line: &RouteLine) -> String {
    let route = &line.route;
    let of = |number, what: &str| {
        let events = count(number, "event waits", "events wait");
        format!("DEFERRING: route {route}: {events} for {what}\n")
    };
    let right = "a right or an object of the database: see `/readyz` or the log of the workers";
    let target = "a target that was not reached: see `hookbox targets list`";
    let all = [(line.missing_right, right), (line.target_fault, target)].into_iter();
    let some = all.filter(|(number, _)| *number > 0);
    some.map(|(number, what)| of(number, what)).collect()
}

fn cells(line: &RouteLine) -> [String; 4] {
    let defers = line.missing_right > 0 || line.target_fault > 0;
    let state = match (&line.paused, line.configured) {
        (Some(_), true) => "paused",
        (None, true) if defers => "deferring",
        (None, true) => "running",
        (Some(_), false) => "paused, not in the config",
        (None, false) => "not in the config",
    };
    let rate = line.rate_per_worker;
    let concurrency = match (line.concurrency_per_worker, line.concurrency_configured) {
        (Some(set), Some(configured)) if set < configured => format!("{set} of {configured}"),
        (Some(set), Some(_) | None) => set.to_string(),
        (None, _) => "-".to_owned(),
    };
    [
        line.route.clone(),
        state.to_owned(),
        rate.map_or("-".to_owned(), |rate| rate.to_string()),
        concurrency,
    ]
}

impl Text for RouteReport {
    fn text(&self) -> String {
        let done = match (self.changed, self.dry_run) {
            (true, false) => self.done(),
            (true, true) => format!("would {}; nothing was changed", self.plan()),
            (false, _) => format!("{}; nothing was changed", self.state()),
        };
        let mut text = format!("store: {done}\n");
        if let (RouteVerb::Resume, RouteScope::One(route), Some(pause), false) =
            (self.change, &self.route, &self.paused, self.dry_run)
        {
            text.push_str(&pauses([(route.as_str(), pause)]));
        }
        if !self.still_paused.is_empty() {
            let names = self.still_paused.join(", ");
            text.push_str(&format!("  still paused by themselves: {names}\n"));
        }
        text
    }
}

impl RouteReport {
    fn plan(&self) -> String {
        let (scope, limits) = (&self.route, self.limits.limits());
        match self.change {
            RouteVerb::Pause => format!("pause {scope}"),
            RouteVerb::Resume => format!("resume {scope}"),
            RouteVerb::Set => format!("set the limits of {scope}: {limits}"),
        }
    }

    fn done(&self) -> String {
        let (scope, limits) = (&self.route, self.limits.limits());
        match self.change {
            RouteVerb::Pause => format!("paused {scope}; {FOLLOW}"),
            RouteVerb::Resume => format!("resumed {scope}; {FOLLOW}"),
            RouteVerb::Set => format!("set the limits of {scope}: {limits}; {FOLLOW}"),
        }
    }

    /// Describes the current state, for a change that alters nothing.
    fn state(&self) -> String {
        let (scope, limits) = (&self.route, self.limits.limits());
        match (self.change, &self.paused) {
            (RouteVerb::Pause, Some(pause)) => format!("{scope} {}", cause(pause)),
            (RouteVerb::Pause, None) => format!("{scope} is not paused"),
            (RouteVerb::Resume, _) => match scope {
                RouteScope::All => "there is no pause of all routes".to_owned(),
                RouteScope::One(_) => format!("{scope} has no pause of its own"),
            },
            (RouteVerb::Set, _) => format!("the limits of {scope} are {limits} already"),
        }
    }
}
