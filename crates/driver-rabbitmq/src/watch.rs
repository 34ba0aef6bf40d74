//! Looks after the queues while they are published to: by AMQP whether they are there and as
//! declared, and by the management API what lies over them. Side by side, so that neither waits
//! for the other; a look and the pause before it take less than five seconds.

use std::time::Duration;

use hookbox_driver::{NotReadyKind, TopologyDifference, describe};
use lapin::Connection;
use tokio::time::{Instant, sleep, timeout};

use crate::Options;
use crate::examine::Round;
use crate::nodes::Nodes;
use crate::refusal::{Account, is_refused};
use crate::topology::{QueueDeclaration, topology};

/// How often the queues are compared with what they must be. Together with [`LOOK_DEADLINE`] it
/// bounds how long a deleted or replaced queue goes unnoticed while nothing is published.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long one look may take before it is told that it takes too long.
const LOOK_DEADLINE: Duration = Duration::from_secs(2);

/// How long a broker may answer nothing at all: as long as a confirm may take. With the pause
/// before a look, one that is gone without a word is noticed within two such deadlines while
/// nothing is published, long before a heartbeat is missed.
const SILENCE_MAX: Duration = Duration::from_millis(2_500);

/// How often it is seen how far a look is.
const TICK: Duration = Duration::from_millis(250);

/// Looks until something is not as it must be, and says what.
pub(crate) async fn look_after(
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
    let mut is_told = false;
    loop {
        sleep(LOOK_EVERY).await;
        if connection.status().blocked() {
            // It answers nothing before its alarm is over.
            continue;
        }
        let round = Round::over(queues);
        let look = round.run(connection);
        tokio::pin!(look);
        // A look that takes longer is not cut off but told, and what it has found counts.
        let began = Instant::now();
        let mut silent_since = began;
        let is_late = || began.elapsed() >= LOOK_DEADLINE;
        let looked = loop {
            if let Ok(looked) = timeout(TICK, look.as_mut()).await {
                break looked;
            }
            if let Some(wrong) = wrong(&round) {
                return (NotReadyKind::Topology, wrong);
            }
            if connection.status().blocked() {
                silent_since = Instant::now();
                continue;
            }
            if silent_since.elapsed() >= SILENCE_MAX && round.left() == queues.len() {
                let why = format!("the broker has answered nothing for {SILENCE_MAX:?}");
                return (NotReadyKind::Unreachable, why);
            }
            if is_late() && !std::mem::replace(&mut is_told, true) {
                tell(
                    &round,
                    queues,
                    &format!("{LOOK_DEADLINE:?} were not enough"),
                );
            }
        };
        if let Some(wrong) = wrong(&round) {
            return (NotReadyKind::Topology, wrong);
        }
        match looked {
            Ok(()) => {
                if !is_late() && std::mem::replace(&mut is_told, false) {
                    tracing::info!("all queues are looked at in time again");
                }
            }
            // The channels that are open go on with what they were once allowed; the next
            // connection would not.
            Err(error) if is_refused(&error) => {
                let refused = account.at_queues(error);
                return (NotReadyKind::Refused, describe(&refused));
            }
            // Where the connection is lost, that shows elsewhere, too.
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    tell(&round, queues, &error.to_string());
                }
            }
        }
    }
}

fn tell(round: &Round<'_>, queues: &[QueueDeclaration], why: &str) {
    let (left, all) = (round.left(), queues.len());
    tracing::warn!(
        left,
        all,
        why,
        "{left} of {all} queues could not be looked at in time ({why}): one that is deleted or \
         replaced is noticed later"
    );
}

async fn at_overlay(nodes: &Nodes, queues: &[QueueDeclaration]) -> String {
    let Some(overlay) = nodes.overlay() else {
        return std::future::pending().await;
    };
    loop {
        sleep(LOOK_EVERY).await;
        // An API that is away is told by the overlay.
        let found = overlay.look(queues).await.unwrap_or_default();
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

/// What is missing, what that means, and what to do.
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
