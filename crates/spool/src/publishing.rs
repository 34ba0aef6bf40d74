//! Publishes a message: to the broker, or into the spool for the queues whose messages are spooled.

use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{Batch, Broker, PublishError, PublishErrorKind, Queue, describe};
use hookbox_event::{Account, RouteName};
use tokio::time::timeout;

use crate::counters::add;
use crate::gate::{Entry, Place};
use crate::shared::Shared;

/// The longest time for which a publish waits until enough spooled messages were forwarded. After
/// this time the publish is spooled although too few messages were forwarded, as if the broker were
/// unavailable.
const MAKE_ROOM_MAX: Duration = Duration::from_millis(250);

/// A message, which goes to the broker and into the spool in the same way.
#[derive(Clone, Copy)]
enum Message<'a> {
    Batch(&'a Batch),
    Report(&'a Account),
}

/// Publishes a batch to the queues of these routes.
pub(super) async fn batch(
    shared: &Shared,
    routes: &[RouteName],
    batch: &Batch,
) -> Result<(), PublishError> {
    let queues: Vec<Queue> = routes.iter().cloned().map(Queue::Route).collect();
    make_room(shared, &queues).await;
    let may_give = || shared.may_give();
    publish(shared, &queues, Message::Batch(batch), may_give).await
}

/// Publishes an accept report. It is spooled while events of a route that it covers are spooled.
/// The events that it covers were published before it, so they have left the spool if their route
/// is not spooling now, even if it starts to spool a moment later.
pub(super) async fn report(shared: &Shared, account: &Account) -> Result<(), PublishError> {
    let is_ahead = shared.gate.is_any_spooling(&covered(account));
    let may_give = || !is_ahead && shared.may_give();
    let queues = [Queue::Accounts];
    publish(shared, &queues, Message::Report(account), may_give).await
}

/// Returns the queues of the routes whose receipts the accept report covers.
pub(super) fn covered(account: &Account) -> Vec<Queue> {
    let routes = account.accepted.iter().flat_map(|it| &it.routes);
    let mut queues: Vec<Queue> = routes.cloned().map(Queue::Route).collect();
    queues.sort();
    queues.dedup();
    queues
}

/// Gives the message to the broker for the queues that are not spooling, and keeps it in the spool
/// for the others. Both start at once, so that a queue at the broker gets its messages in the order
/// of their arrival, as without a spool.
async fn publish(
    shared: &Shared,
    queues: &[Queue],
    message: Message<'_>,
    may_give: impl Fn() -> bool,
) -> Result<(), PublishError> {
    let Entry { given, kept } = shared.gate.enter(queues, may_give).await;
    let given = async {
        match given {
            Some(place) => give(shared, place, message).await,
            None => Ok(()),
        }
    };
    let kept = async {
        match kept {
            Some(place) => keep(shared, place, message).await,
            None => Ok(()),
        }
    };
    let (given, kept) = tokio::join!(given, kept);
    given.and(kept)
}

/// Publishes the message to the broker. If that fails, keeps it in the spool.
async fn give(shared: &Shared, place: Place<'_>, message: Message<'_>) -> Result<(), PublishError> {
    let late = PublishError::plain(PublishErrorKind::TimedOut);
    let given = tokio::select! {
        given = message.publish(&*shared.broker, place.queues()) => given,
        () = place.is_late() => Err(late),
    };
    let Err(error) = given else {
        return Ok(());
    };
    let events = message.events(place.queues());
    keep(shared, place.keep(), message).await?;
    tracing::info!(
        kind = error.kind.as_str(),
        error = describe(&error),
        "the broker did not take {events} events; they are kept in the spool"
    );
    Ok(())
}

async fn keep(
    shared: &Shared,
    mut place: Place<'_>,
    message: Message<'_>,
) -> Result<(), PublishError> {
    place.is_oldest().await;
    crash_point!("spool.before_keep");
    let kept = message.publish(&*shared.spool, place.queues()).await;
    if kept.as_ref().is_err_and(is_not_stored) {
        place.record_refused();
    }
    kept?;
    crash_point!("spool.after_keep");
    let events = message.events(place.queues());
    add(&shared.counters.kept, events);
    add(&shared.counters.events, events);
    Ok(())
}

/// Returns whether the spool has certainly not stored a publish with this error.
fn is_not_stored(error: &PublishError) -> bool {
    match error.kind {
        PublishErrorKind::Blocked => true,
        PublishErrorKind::Rejected
        | PublishErrorKind::Unroutable
        | PublishErrorKind::TimedOut
        | PublishErrorKind::Unavailable => false,
    }
}

/// While messages of these queues are spooled, waits until so many of them have been forwarded that
/// a new message may enter the spool. Waits for [`MAKE_ROOM_MAX`] at most.
async fn make_room(shared: &Shared, queues: &[Queue]) {
    if !shared.gate.is_any_spooling(queues) || !shared.is_ready() {
        return;
    }
    let all = async {
        for queue in queues {
            if let Some(forwarding) = shared.queues.get(queue)
                && shared.gate.is_spooling(queue)
            {
                forwarding.make_room().await;
            }
        }
    };
    let _ = timeout(MAKE_ROOM_MAX, all).await;
}

impl Message<'_> {
    async fn publish(self, broker: &dyn Broker, queues: &[Queue]) -> Result<(), PublishError> {
        match self {
            Message::Batch(batch) => {
                let routes = queues.iter().filter_map(|queue| match queue {
                    Queue::Route(route) => Some(route.clone()),
                    Queue::Dead | Queue::Accounts | Queue::Witness => None,
                });
                let routes: Vec<RouteName> = routes.collect();
                broker.publish(&routes, batch).await
            }
            Message::Report(account) => broker.publish_report(account).await,
        }
    }

    /// Returns the number of events in the message, once for each queue. An accept report contains
    /// no event.
    fn events(self, queues: &[Queue]) -> u64 {
        match self {
            Message::Batch(batch) => (batch.count * queues.len()) as u64,
            Message::Report(_) => 0,
        }
    }
}
