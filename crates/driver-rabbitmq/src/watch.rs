//! Monitors the queues while the driver publishes to them. A check over AMQP shows whether the
//! queues exist as declared, and a check over the management API shows which policies apply to
//! them. The two checks run concurrently, so that neither check waits for the other. Each check,
//! together with the pause before it, takes less than five seconds.

use std::time::Duration;

use hookbox_driver::{NotReadyKind, TopologyDifference, describe};
use lapin::Connection;
use tokio::time::{Instant, sleep, timeout};

use crate::Options;
use crate::examine::Round;
use crate::nodes::Nodes;
use crate::refusal::{Account, is_refused};
use crate::topology::{QueueDeclaration, topology};

/// How long to wait between two checks of the queues. Together with [`CHECK_DEADLINE`], it limits
/// how long a deleted or replaced queue goes unnoticed while nothing is published.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// How long one check of all queues may take before a warning is logged.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);

/// How long the broker may send no answer at all during a check before it counts as unresponsive.
/// This is as long as a confirm may take. Before each check there is a pause of [`CHECK_EVERY`]. So
/// an unresponsive broker is noticed within five seconds, even if nothing is published. Missed
/// heartbeats would show it much later.
const SILENCE_MAX: Duration = Duration::from_millis(2_500);

/// How often the progress of a running check is read.
const TICK: Duration = Duration::from_millis(250);

/// Checks the queues again and again until something is wrong, and returns the class of the problem
/// and its description.
pub(crate) async fn monitor(
    options: &Options,
    nodes: &Nodes,
    connection: &Connection,
) -> (NotReadyKind, String) {
    let queues = topology(&options.environment, &options.routes).queues;
    tokio::select! {
        wrong = at_queues(nodes.account(), connection, &queues) => wrong,
        wrong = at_overlay(nodes, &queues) => (NotReadyKind::Topology, wrong),
    }
}

async fn at_queues(
    account: &Account,
    connection: &Connection,
    queues: &[QueueDeclaration],
) -> (NotReadyKind, String) {
    let mut is_logged = false;
    loop {
        sleep(CHECK_EVERY).await;
        if connection.status().blocked() {
            // A broker that has blocked the connection answers no check until its alarm ends.
            continue;
        }
        let round = Round::over(queues);
        let check = round.run(connection);
        tokio::pin!(check);
        // A check that is late is logged and not cancelled, and its findings still count.
        let began = Instant::now();
        let mut silent_since = began;
        let is_late = || began.elapsed() >= CHECK_DEADLINE;
        let checked = loop {
            if let Ok(checked) = timeout(TICK, check.as_mut()).await {
                break checked;
            }
            if let Some(wrong) = wrong(&round) {
                return (NotReadyKind::Topology, wrong);
            }
            if connection.status().blocked() {
                silent_since = Instant::now();
                continue;
            }
            if silent_since.elapsed() >= SILENCE_MAX && round.left() == queues.len() {
                let why = format!("the broker has been unresponsive for {SILENCE_MAX:?}");
                return (NotReadyKind::Unreachable, why);
            }
            if is_late() && !std::mem::replace(&mut is_logged, true) {
                log_late(
                    &round,
                    queues,
                    &format!("the deadline is {CHECK_DEADLINE:?}"),
                );
            }
        };
        if let Some(wrong) = wrong(&round) {
            return (NotReadyKind::Topology, wrong);
        }
        match checked {
            Ok(()) => {
                if !is_late() && std::mem::replace(&mut is_logged, false) {
                    let all = queues.len();
                    tracing::info!(
                        all,
                        "queue checks recovered: all {all} queues answered within the deadline"
                    );
                }
            }
            // A right of the user was revoked after the connection was opened. Open channels keep
            // this right, but the next connection will lack it.
            Err(error) if is_refused(&error) => {
                let refused = account.at_queues(error);
                return (NotReadyKind::Refused, describe(&refused));
            }
            // The error is only logged, because the supervisor notices a lost connection by itself.
            Err(error) => {
                if !std::mem::replace(&mut is_logged, true) {
                    log_late(&round, queues, &error.to_string());
                }
            }
        }
    }
}

fn log_late(round: &Round<'_>, queues: &[QueueDeclaration], why: &str) {
    let (left, all) = (round.left(), queues.len());
    tracing::warn!(
        left,
        all,
        why,
        "queue check: {left} of {all} queues did not answer in time ({why}); a deleted or \
         replaced queue is noticed late"
    );
}

async fn at_overlay(nodes: &Nodes, queues: &[QueueDeclaration]) -> String {
    let Some(overlay) = nodes.overlay() else {
        return std::future::pending().await;
    };
    loop {
        sleep(CHECK_EVERY).await;
        // The error is not logged here, because `Overlay::check` logs that the management API is
        // unavailable.
        let found = overlay.check(queues).await.unwrap_or_default();
        if !found.is_empty() {
            return in_words(&found);
        }
    }
}

fn wrong(round: &Round<'_>) -> Option<String> {
    let differences = round.differences();
    if !differences.is_empty() {
        return Some(in_words(&differences));
    }
    let missing = round.missing();
    let names: Vec<String> = missing.iter().map(|queue| queue.name.clone()).collect();
    (!names.is_empty()).then(|| missing_text(&names))
}

/// Returns the error text for missing queues: their names, what their absence means, and what to
/// do.
pub(crate) fn missing_text(queues: &[String]) -> String {
    let what = match queues {
        [one] => format!(
            "queue {one} is missing: it was deleted with every message in it, or its route is \
             new"
        ),
        _ => format!(
            "queues {} are missing: they were deleted with every message in them, or their \
             routes are new",
            queues.join(", ")
        ),
    };
    format!(
        "{what}; nothing is accepted until `hookbox queues declare` has declared what is missing, \
         and `hookbox reconcile` lists the receipts that are known to be lost"
    )
}

fn in_words(differences: &[TopologyDifference]) -> String {
    let one = |it: &TopologyDifference| format!("queue {}: {}", it.queue, it.difference);
    differences.iter().map(one).collect::<Vec<_>>().join("; ")
}
