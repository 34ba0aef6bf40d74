//! SIGTERM and SIGINT: the first drains. While it drains, SIGINT ends the process at once, and
//! SIGTERM changes nothing.
//!
//! SIGTERM comes from machines, which send it twice for reasons of their own (a service manager
//! and the init of a container, say), and kill what takes too long anyway: nobody's request may
//! lose its answer to that. Ctrl-C comes from a person, who wants the terminal back.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::exit;

/// A token that the first signal cancels. An interrupt after that ends the process at once: what
/// was taken and not settled comes again, and open requests have no answer.
pub fn shutdown(tasks: &TaskTracker) -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let first = token.clone();
    tasks.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = first.cancelled() => {}
        }
        if !first.is_cancelled() {
            tracing::info!("draining; Ctrl-C (SIGINT) stops at once");
            first.cancel();
        }
        tokio::select! {
            _ = interrupt.recv() => {}
            () = disregard(&mut terminate) => {}
        }
        tracing::warn!("stopped at once by SIGINT, while it drained");
        std::process::exit(exit::STOPPED.code().into());
    });
    Ok(token)
}

/// Says of each that it changes nothing, until there can be none any more.
async fn disregard(terminate: &mut Signal) {
    while terminate.recv().await.is_some() {
        tracing::info!("it drains already: SIGTERM changes nothing, Ctrl-C (SIGINT) stops at once");
    }
    std::future::pending().await
}
