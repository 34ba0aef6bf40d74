//! Checks before the start of a worker that its database accepts what the handlers will run.

use std::time::Duration;

use hookbox_driver::{Fault, FaultKind, Store};
use hookbox_event::RouteName;

use crate::{Registered, Route, RouteWork};

/// How long the check of one handler may take. A check prepares statements and waits for no lock of
/// another session, except while a migration runs.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Why the handler of a route cannot run on the database.
#[derive(Debug, thiserror::Error)]
pub enum RefusedHandler {
    /// The database does not accept what the handler will run.
    #[error("the database does not accept the handler {handler:?} of route {route}: {why}")]
    Refused {
        /// The route that has the handler.
        route: RouteName,
        /// The name of the handler.
        handler: &'static str,
        /// The error of the handler, with its causes.
        why: String,
    },
    /// The database is unavailable, or another session holds a lock for too long.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Checks the handlers of all routes. An effect runs nothing on the database.
pub(crate) async fn check_all<S: Store>(
    store: &S,
    routes: &[Route<S>],
) -> Result<(), RefusedHandler> {
    for route in routes {
        match &route.work {
            RouteWork::Handler(handler) => check(store, &route.name, handler).await?,
            RouteWork::Effect(_) => {}
        }
    }
    Ok(())
}

async fn check<S: Store>(
    store: &S,
    route: &RouteName,
    handler: &Registered<S>,
) -> Result<(), RefusedHandler> {
    let doing = "check that the database accepts the handler of a route";
    let mut tx = store.begin_for_handler().await?;
    let checking = handler.check_database(store.connection(&mut tx));
    // After the time limit the transaction is dropped, which closes its connection.
    let checked = tokio::time::timeout(TIME_LIMIT, checking)
        .await
        .map_err(|elapsed| Fault::new(FaultKind::Unavailable, doing, elapsed))?;
    store.rollback(tx).await;
    let Err(error) = checked else {
        return Ok(());
    };
    match store.diagnose(error.cause()) {
        Some(kind @ (FaultKind::Unavailable | FaultKind::Contention)) => {
            let why = store.describe(error.cause());
            Err(Fault::new(kind, doing, why).into())
        }
        Some(FaultKind::MissingRight | FaultKind::Internal) | None => {
            Err(RefusedHandler::Refused {
                route: route.clone(),
                handler: handler.name(),
                why: store.describe(error.cause()),
            })
        }
    }
}
