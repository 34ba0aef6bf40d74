//! `queues declare`: what is known of queues that are missing at the broker, before they are
//! declared again. What was in a queue that was deleted is lost, and the store knows some of it.

use hookbox_driver::{Accounts, Fault, Ledger, Queue, RouteBooks};
use serde::Serialize;

use super::reconcile::OVERDUE;
use crate::{Problem, Reach, Source};

/// What `queues declare` did.
#[derive(Debug, Clone, Serialize)]
pub struct DeclareReport {
    /// The queues that were declared, by their names at the broker.
    pub declared: Vec<String>,
    /// What was known of each before.
    pub missing: Vec<MissingQueue>,
    /// What could not be found out.
    pub problems: Vec<Problem>,
}

/// A queue that the broker does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingQueue {
    /// Its name at the broker.
    pub name: String,
    /// What it is for: `route.scores`, or `dead`.
    pub queue: String,
    /// Whether the store holds receipts that passed through it, so that it was deleted and is not
    /// new; null where the store could not be read.
    pub was_used: Option<bool>,
    /// Receipts of its route that were answered 200 and have no outcome: some or all of them were
    /// in it. Null where the store could not be read, and for a queue that is no route's.
    pub open: Option<u64>,
}

/// What the store knows of these queues.
pub async fn missing_queues(
    missing: Vec<(Queue, String)>,
    store: &Reach<dyn Ledger>,
) -> (Vec<MissingQueue>, Vec<Problem>) {
    let mut problems = Vec::new();
    let known = match store {
        // Nothing needs to be known of no queue: the counts read every receipt.
        _ if missing.is_empty() => None,
        Reach::Open(ledger) => match read(&**ledger).await {
            Ok(known) => Some(known),
            Err(fault) => {
                problems.push(Problem::of(Source::Store, &fault));
                None
            }
        },
        Reach::Away(why) => {
            problems.push(Problem {
                source: Source::Store,
                what: why.clone(),
            });
            None
        }
    };
    let of = |(queue, name): (Queue, String)| MissingQueue {
        name,
        was_used: known.as_ref().map(|known| known.was_used(&queue)),
        open: known.as_ref().and_then(|known| known.open(&queue)),
        queue: queue.to_string(),
    };
    (missing.into_iter().map(of).collect(), problems)
}

async fn read(ledger: &dyn Ledger) -> Result<Known, Fault> {
    Ok(Known {
        accounts: ledger.accounts(0, OVERDUE).await?,
        books: ledger.books().await?,
        has_witness: ledger.witness_position().await?.confirmed > 0,
    })
}

/// What the store knows.
struct Known {
    accounts: Accounts,
    books: Vec<RouteBooks>,
    /// The broker has confirmed one.
    has_witness: bool,
}

impl Known {
    fn was_used(&self, queue: &Queue) -> bool {
        let reported = self.accounts.told.iter();
        match queue {
            Queue::Route(route) => {
                self.books
                    .iter()
                    .any(|book| book.route == *route && book.receipts() > 0)
                    || { reported }.any(|(name, count)| name == route && *count > 0)
            }
            Queue::Witness => self.has_witness,
            // Dead letters of any route, and accept reports of all of them.
            Queue::Dead | Queue::Accounts => {
                self.books.iter().any(|book| book.receipts() > 0) || { reported }
                    .any(|(_, count)| *count > 0)
            }
        }
    }

    fn open(&self, queue: &Queue) -> Option<u64> {
        let Queue::Route(route) = queue else {
            return None;
        };
        let of_route = self.accounts.open_by_route.iter();
        let of_route = { of_route }.find(|(name, _)| name == route);
        Some(of_route.map_or(0, |(_, count)| *count))
    }
}

impl MissingQueue {
    /// The queue and what is known of it, on one line.
    pub fn line(&self) -> String {
        let name = &self.name;
        match (self.was_used, self.open) {
            (None, _) => format!(
                "{name}: the store could not be read, so it is not known whether it was used"
            ),
            (Some(false), _) => format!("{name}: not used before, as far as the store knows"),
            (Some(true), Some(0)) => format!(
                "{name}: it was used, so it was deleted; the store knows of no receipt that was \
                 in it"
            ),
            (Some(true), Some(open)) => format!(
                "{name}: it was used, so it was deleted; {open} receipts of its route were \
                 answered 200 and have no outcome: what of them was in the queue is lost"
            ),
            (Some(true), None) => {
                format!("{name}: it was used, so it was deleted; what was in it is lost")
            }
        }
    }
}
