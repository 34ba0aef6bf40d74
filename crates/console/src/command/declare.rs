//! `queues declare`: what the store knows about queues that are missing at the broker, before they
//! are declared again. The messages of a deleted queue are lost, and the store knows some of them.

use hookbox_driver::{Accounts, Fault, Ledger, Queue, RouteBooks};
use hookbox_event::RouteName;
use serde::Serialize;

use super::queues::store_side;
use super::reconcile::OVERDUE;
use crate::{Problem, Reach};

/// The result of `queues declare`.
#[derive(Debug, Clone, Serialize)]
pub struct DeclareReport {
    /// The queues that were declared, by their names at the broker.
    pub declared: Vec<String>,
    /// What was known about each before.
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
    /// in it. Null where the store could not be read, and for a queue that belongs to no route.
    pub open: Option<u64>,
}

/// What the store knows about these queues.
pub async fn missing_queues(
    missing: Vec<(Queue, String)>,
    store: &Reach<dyn Ledger>,
) -> (Vec<MissingQueue>, Vec<Problem>) {
    if missing.is_empty() {
        // Without a missing queue nothing is read: the counts read every receipt.
        return (Vec::new(), Vec::new());
    }
    let (known, problems) = store_side(store, async |ledger| read(ledger).await).await;
    let of = |(queue, name): (Queue, String)| MissingQueue {
        name,
        was_used: known.as_ref().map(|known| known.was_used(&queue)),
        open: known.as_ref().and_then(|known| known.open(&queue)),
        queue: queue.to_string(),
    };
    (missing.into_iter().map(of).collect(), problems)
}

async fn read(ledger: &dyn Ledger) -> Result<StoreKnowledge, Fault> {
    Ok(StoreKnowledge {
        accounts: ledger.accounts(0, OVERDUE).await?,
        books: ledger.books().await?,
        has_witness: ledger.witness_position().await?.confirmed > 0,
    })
}

/// What the store knows.
struct StoreKnowledge {
    accounts: Accounts,
    books: Vec<RouteBooks>,
    /// The broker has confirmed one.
    has_witness: bool,
}

impl StoreKnowledge {
    fn was_used(&self, queue: &Queue) -> bool {
        match queue {
            Queue::Route(route) => self.has_receipts(|name| name == route),
            Queue::Witness => self.has_witness,
            // Dead letters of any route, and accept reports of all of them.
            Queue::Dead | Queue::Accounts => self.has_receipts(|_| true),
        }
    }

    /// Whether receipts of such a route have an outcome, or were reported.
    fn has_receipts(&self, of: impl Fn(&RouteName) -> bool) -> bool {
        let settled = self.books.iter().map(|book| (&book.route, book.receipts()));
        let reported = self
            .accounts
            .reported
            .iter()
            .map(|(name, count)| (name, *count));
        settled
            .chain(reported)
            .any(|(name, count)| of(name) && count > 0)
    }

    fn open(&self, queue: &Queue) -> Option<u64> {
        let Queue::Route(route) = queue else {
            return None;
        };
        let mut by_route = self.accounts.open_by_route.iter();
        let of_route = by_route.find(|(name, _)| name == route);
        Some(of_route.map_or(0, |(_, count)| *count))
    }
}

impl MissingQueue {
    /// The queue and what is known about it, on one line.
    pub fn line(&self) -> String {
        let name = &self.name;
        match (self.was_used, self.open) {
            (None, _) => format!(
                "{name}: the store could not be read, so it is not known whether it was used"
            ),
            (Some(false), _) => format!("{name}: not used before, as far as the store knows"),
            (Some(true), Some(0)) => format!(
                "{name}: it was used, so it was deleted; the store knows no receipt that was \
                 in it"
            ),
            (Some(true), Some(open)) => format!(
                "{name}: it was used, so it was deleted; {open} receipts of its route were \
                 answered 200 and have no outcome: those that were in the queue are lost"
            ),
            (Some(true), None) => {
                format!("{name}: it was used, so it was deleted; what was in it is lost")
            }
        }
    }
}
