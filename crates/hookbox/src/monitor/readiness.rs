//! Determines whether this process can work now, and if it cannot, which dependency is the reason.

use std::sync::atomic::Ordering;

use hookbox_driver::{Readiness, RoutePause};
use hookbox_event::{RouteName, Timestamp};
use hookbox_operations::render::terminal;
use serde_json::{Value, json};

use super::state::{Monitor, Observed, Parts};
use crate::key_ends::{KeysEnd, assess};

/// A dependency of this process, and its problem, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The name of the dependency: `broker`, `spool`, `store` or `witness`, or `source` or `route`
    /// followed by its name.
    pub name: String,
    /// The problem, in words that are safe to show to an operator.
    pub trouble: Option<String>,
    /// What will soon become a problem, in words that are safe to show to an operator.
    pub warning: Option<String>,
}

/// Returns all dependencies of this process, each with its problem or its warning, if it has one.
pub fn dependencies(parts: &Parts, seen: &Observed, now: Timestamp) -> Vec<Dependency> {
    let mut all = vec![dependency("broker", broker(parts))];
    if let Some(counters) = &parts.spool {
        let refused = counters.refused.load(Ordering::Relaxed);
        let why = || format!("the broker refuses {refused} events of the spool; see the log");
        // The spool file must be usable even while the broker accepts everything, because the spool
        // is needed as soon as the broker is unavailable.
        let file = parts.spool_file.as_ref().map(|file| file.readiness());
        let trouble = match file {
            Some(Readiness::NotReady { why, .. }) => Some(why),
            Some(Readiness::Ready) | None => (refused > 0).then(why),
        };
        all.push(dependency("spool", trouble));
    }
    if parts.needs.store {
        all.push(dependency("store", store(parts, seen)));
    }
    if parts.needs.witness {
        all.push(dependency("witness", witness(seen)));
    }
    if let Some(ingest) = &parts.ingest {
        let ends = ingest.keys_end();
        all.extend(ends.iter().map(|(source, end)| keys(source, *end, now)));
    }
    let routes = parts.worker.iter().flat_map(|worker| &worker.routes);
    for (name, counters) in routes {
        let held = counters.paused.load(Ordering::Relaxed);
        let cut_off = counters.unsubscribed.load(Ordering::Relaxed);
        let stalled = counters.stalled.load(Ordering::Relaxed);
        let missing = counters.missing_right();
        let trouble = match (missing, held, stalled, cut_off) {
            (Some(missing), ..) => Some(format!(
                "the handler of the route lacks a right or an object that it needs, so events \
                 wait: {missing}"
            )),
            (None, true, ..) => Some(
                "the route is paused; messages in flight are kept; see the log".to_owned(),
            ),
            (None, false, true, _) => Some(
                "the route is at a standstill: nothing is settled although messages are in flight; \
                 see the log"
                    .to_owned(),
            ),
            (None, false, false, true) => {
                Some("the subscription of the route is interrupted; see the log".to_owned())
            }
            (None, false, false, false) => None,
        };
        all.push(Dependency {
            name: format!("route {name}"),
            trouble,
            warning: counters.operator_pause().map(|pause| paused(name, &pause)),
        });
    }
    all
}

/// Returns the warning about a route that an operator has paused. A warning does not turn readiness
/// red, because the pause is intended. The operator wrote the name and the reason, so control
/// characters in them are escaped: they must not reach the terminal of a reader.
fn paused(route: &RouteName, pause: &RoutePause) -> String {
    let RoutePause { by, why, since } = pause;
    terminal::line(&format!(
        "route {route} is paused by {by} since {since}: {why}"
    ))
}

/// Returns why the broker would refuse a publish now; `None` if it would take one.
pub fn broker(parts: &Parts) -> Option<String> {
    match parts.broker.as_ref().map(|broker| broker.readiness()) {
        None => {
            let why = parts.broker_away.as_deref();
            Some(
                why.unwrap_or("the broker has not been reached yet")
                    .to_owned(),
            )
        }
        Some(Readiness::NotReady { why, .. }) => Some(why),
        Some(Readiness::Ready) => None,
    }
}

/// Returns why the store cannot be used now; `None` if it can be used.
pub fn store(parts: &Parts, seen: &Observed) -> Option<String> {
    match (&parts.store, &seen.store) {
        (None, _) => Some("the store has not been reached yet".to_owned()),
        (Some(_), Some(Err(why))) => Some(why.clone()),
        // `None` means that the store was opened a moment ago and has not been polled yet, so it is
        // usable.
        (Some(_), Some(Ok(())) | None) => None,
    }
}

/// Returns how the store and the witness messages at its broker contradict each other, if they do.
fn witness(seen: &Observed) -> Option<String> {
    let mismatch = seen.witness.as_ref()?.as_ref()?;
    let what = mismatch.describe();
    Some(format!("{what}; `hookbox reconcile` lists what to do"))
}

/// Returns whether the process is ready, and the body of `/readyz`, which names the reason if the
/// process is not ready.
pub fn answer(monitor: &Monitor, now: Timestamp) -> (bool, Value) {
    let parts = monitor.parts();
    let dependencies = dependencies(&parts, &monitor.observed(), now);
    let has_no_trouble = dependencies.iter().all(|one| one.trouble.is_none());
    let is_ready = has_no_trouble && !parts.draining;
    let shown = dependencies.iter().map(|one| match &one.trouble {
        None => match &one.warning {
            None => json!({ "name": one.name, "ready": true }),
            Some(what) => json!({ "name": one.name, "ready": true, "warning": what }),
        },
        Some(why) => json!({ "name": one.name, "ready": false, "why": why }),
    });
    let words = json!({
        "status": if is_ready { "ready" } else { "not_ready" },
        "draining": parts.draining,
        "dependencies": shown.collect::<Vec<_>>(),
    });
    (is_ready, words)
}

fn dependency(name: &str, trouble: Option<String>) -> Dependency {
    Dependency {
        name: name.to_owned(),
        trouble,
        warning: None,
    }
}

/// Returns whether a source has a valid key, and a warning if its last key expires soon.
fn keys(source: &str, end: Option<Timestamp>, now: Timestamp) -> Dependency {
    let (trouble, warning) = match assess(source, end, now) {
        Some(KeysEnd::Over(why)) => (Some(why), None),
        Some(KeysEnd::Near(what)) => (None, Some(what)),
        None => (None, None),
    };
    Dependency {
        name: format!("source {source}"),
        trouble,
        warning,
    }
}
