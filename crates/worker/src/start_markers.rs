//! Start markers: rows of the store that count how often a handler was started on a redelivered
//! event, to find events whose handler ends the process.
//!
//! A handler that aborts, overflows its stack or exhausts the memory ends the process, which then
//! cannot record a failure. So before a handler runs on a redelivered event, its start is counted
//! in the store. The count is cleared once the process has survived the attempt. An event that
//! still has a count was in flight when a process died.

use hookbox_driver::{Fault, Start, StartCounts, StartKind, Store, describe};

use crate::pause::Stopped;
use crate::route_context::RouteContext;

/// Returns how often the store has counted each of these handler starts, in the given order.
/// Starts that this process has counted itself are left out, because this process has not died.
pub(crate) async fn counts<S: Store>(
    context: &RouteContext<'_, S>,
    of: &[Start],
) -> Result<Vec<StartCounts>, Stopped> {
    if of.is_empty() {
        return Ok(Vec::new());
    }
    let (inner, route) = (context.inner, context.route);
    let counts = context.until_done(|| inner.store.starts(route, of)).await?;
    let others = of.iter().zip(counts);
    let others = others.map(|(start, it)| inner.own_markers.without_own(route, *start, it));
    Ok(others.collect())
}

/// Counts the starts of handlers on these events in the store, before the handlers run. The starts
/// are not isolated: other handlers of this process may run at the same time. So if the process
/// dies, its death may be due to any of them.
pub(crate) async fn set<S: Store>(
    context: &RouteContext<'_, S>,
    on: &[Start],
) -> Result<(), Stopped> {
    if on.is_empty() {
        return Ok(());
    }
    let (inner, route) = (context.inner, context.route);
    // The marker is recorded in this process before the store counts the start, because the answer
    // of the store may be lost.
    inner.own_markers.add(route, StartKind::Shared, on);
    let start = || inner.store.start(route, &inner.id, StartKind::Shared, on);
    context.until_done(start).await?;
    inner.own_markers.counted(route, on);
    Ok(())
}

/// Counts the start of a handler in the store, before the handler runs in isolation (no other
/// handler of this process runs at the same time). A fault of the store is returned at once
/// and not retried here, because no other handler of the process may run in the meantime.
pub(crate) async fn set_isolated<S: Store>(
    context: &RouteContext<'_, S>,
    start: Start,
) -> Result<(), Fault> {
    let (inner, route) = (context.inner, context.route);
    let kind = match inner.own_markers.get(route, start).map(|own| own.kind) {
        // The store may have counted this start already, although its answer was lost. So the
        // start is counted with the same kind as before.
        Some(kind @ (StartKind::Isolated | StartKind::Unproven)) => kind,
        None | Some(StartKind::Shared) if inner.counters.has_completed() => StartKind::Isolated,
        None | Some(StartKind::Shared) => StartKind::Unproven,
    };
    inner.own_markers.add(route, kind, &[start]);
    inner.store.start(route, &inner.id, kind, &[start]).await?;
    inner.own_markers.counted(route, &[start]);
    Ok(())
}

/// Removes the counted start of an isolated handler that has to run again later. Until that next
/// run, the handler cannot end a process. So another process that receives the event must not take
/// the count for the death of a process. The removal is tried only once, because no other handler
/// of the process may run in the meantime.
pub(crate) async fn retract<S: Store>(context: &RouteContext<'_, S>, start: Start) {
    let (inner, route) = (context.inner, context.route);
    let Some(counted) = inner.own_markers.get(route, start) else {
        return;
    };
    let retracted = inner.store.retract_start(route, &inner.id, counted, start);
    match retracted.await {
        Ok(()) => inner.own_markers.remove(route, &[start]),
        // The start marker stays in `own_markers`, so the next run of the handler in this process
        // does not count the start a second time.
        Err(fault) => tracing::info!(
            route = %route,
            error = describe(&fault),
            "the count of a handler's start on route {route} could not be removed; until the \
             handler has run again, another worker may take this start for the death of a process"
        ),
    }
}

/// Clears the start markers of work that has ended, with or without an outcome.
pub(crate) async fn clear<S: Store>(
    context: &RouteContext<'_, S>,
    of: &[Start],
    ended: Result<(), Stopped>,
) -> Result<(), Stopped> {
    let (inner, route) = (context.inner, context.route);
    match ended {
        Ok(()) if of.is_empty() => {}
        Ok(()) => {
            let clear = || inner.store.survived(route, of);
            context.until_done(clear).await?;
            inner.own_markers.remove(route, of);
        }
        Err(Stopped) => {
            // The store is most likely unavailable. Clearing is tried nevertheless, and once more
            // when the process ends, because an event whose marker stays is suspected of ending the
            // process. A suspected event that was not run keeps its markers.
            let own = inner.own_markers.among(route, of);
            if !own.is_empty() && inner.store.survived(route, &own).await.is_ok() {
                inner.own_markers.remove(route, &own);
            }
        }
    }
    ended
}
