//! `queues declare`: before missing queues are declared, reports what the store knows about them.
//! The messages in a deleted queue are lost, and the store knows some of their receipts.

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
    /// What the store knows about each of the queues that were missing.
    pub missing: Vec<MissingQueue>,
    /// What could not be read from the store, and why.
    pub problems: Vec<Problem>,
}

/// A queue that does not exist at the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingQueue {
    /// The name of the queue at the broker.
    pub name: String,
    /// What the queue is for, such as `route.scores` or `dead`.
    pub queue: String,
    /// Whether the store has receipts that went through the queue. If so, the queue existed before
    /// and was deleted; otherwise it is new, as far as the store knows. Null if the store could not
    /// be read.
    pub was_used: Option<bool>,
    /// How many receipts of the queue's route were answered 200 and have no outcome. Some or all of
    /// them were in the queue when it was deleted. Null if the store could not be read, and for a
    /// queue that belongs to no route.
    pub open: Option<u64>,
}

/// Reports what the store knows about each of the given missing queues.
pub async fn missing_queues(
    missing: Vec<(Queue, String)>,
    store: &Reach<dyn Ledger>,
) -> (Vec<MissingQueue>, Vec<Problem>) {
    if missing.is_empty() {
        // The store is not read if no queue is missing, because reading it counts all receipts,
        // which takes long.
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

/// What the store knows about the receipts of all routes.
struct StoreKnowledge {
    accounts: Accounts,
    books: Vec<RouteBooks>,
    /// Whether the broker has ever confirmed a witness message, that is, whether the queue of the
    /// witness messages was used.
    has_witness: bool,
}

impl StoreKnowledge {
    fn was_used(&self, queue: &Queue) -> bool {
        match queue {
            Queue::Route(route) => self.has_receipts(|name| name == route),
            Queue::Witness => self.has_witness,
            // These two queues serve all routes: one holds dead letters, and the other one holds
            // accept reports. So they count as used if the store knows a receipt of any route.
            Queue::Dead | Queue::Accounts => self.has_receipts(|_| true),
        }
    }

    /// Returns whether the store knows a receipt of the routes that `of` selects: a receipt that
    /// has an outcome, or that an ingest has reported.
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
    /// Describes the queue, and what the store knows about it, on one line.
    pub fn line(&self) -> String {
        let name = &self.name;
        match (self.was_used, self.open) {
            (None, _) => format!(
                "{name}: the store could not be read, so it is unknown whether the queue was used \
                 before"
            ),
            (Some(false), _) => {
                format!("{name}: the queue was not used before, as far as the store knows")
            }
            (Some(true), Some(0)) => format!(
                "{name}: the queue was used before, so it was deleted; the store knows no receipt \
                 that was in it"
            ),
            (Some(true), Some(open)) => format!(
                "{name}: the queue was used before, so it was deleted; {open} receipts of its \
                 route were answered 200 and have no outcome: those that were in the queue are lost"
            ),
            (Some(true), None) => {
                format!(
                    "{name}: the queue was used before, so it was deleted; what was in it is lost"
                )
            }
        }
    }
}
