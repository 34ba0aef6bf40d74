//! Settles the messages of the broker after their events were processed.

use hookbox_crash::crash_point;
use hookbox_driver::{Delivery, Store, describe};

use crate::pause::Stopped;
use crate::route_context::RouteContext;

/// Acknowledges messages whose events have their outcomes, or releases messages whose work was
/// stopped.
pub(crate) async fn settle_messages<S: Store>(
    context: &RouteContext<'_, S>,
    deliveries: Vec<Delivery>,
    finished: Result<(), Stopped>,
) {
    for delivery in deliveries {
        crash_point!("worker.before_ack");
        let settled = match finished {
            Ok(()) => delivery.ack().await,
            Err(Stopped) => Delivery::release(delivery).await,
        };
        if let Err(fault) = settled {
            // The message is redelivered. If its receipts have their outcomes by then, nothing is
            // done about them again.
            let route = context.route;
            tracing::info!(
                route = %route,
                error = describe(&fault),
                "a message of route {route} could not be settled and will be redelivered"
            );
        }
        crash_point!("worker.after_ack");
    }
}
