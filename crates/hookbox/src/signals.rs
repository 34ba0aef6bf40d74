//! Handles signals. The first SIGTERM or SIGINT starts the drain. During the drain, SIGINT ends the
//! process at once, and SIGTERM is ignored.
//!
//! SIGTERM comes from service managers. A process may get it twice (for example from a service
//! manager and from the init of a container). The second SIGTERM is ignored, because it would cost
//! open requests their answers. It is not needed either: a service manager kills a process that
//! takes too long. SIGINT (Ctrl-C) comes from a person, who wants the terminal back.
//!
//! SIGHUP reloads a service. Signals that end a process by default and that tools send for their
//! own purposes (log rotation, timers) are ignored, so that none of them costs a request its
//! answer.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::exit;
use crate::telemetry::Log;

/// The signals to which a service reacts.
pub struct Signals {
    /// The token that is cancelled by the first signal that starts the drain.
    pub shutdown: CancellationToken,
    /// The stream of SIGHUP signals. Several signals that arrive before the stream is polled count
    /// as one signal.
    pub hangup: Signal,
}

/// Starts to handle the signals of a service. SIGUSR1, SIGUSR2 and SIGALRM are ignored and logged.
pub fn service(tasks: &TaskTracker, log: &Log) -> anyhow::Result<Signals> {
    let hangup = signal(SignalKind::hangup())?;
    for (name, kind) in [
        ("SIGUSR1", SignalKind::user_defined1()),
        ("SIGUSR2", SignalKind::user_defined2()),
        ("SIGALRM", SignalKind::alarm()),
    ] {
        tasks.spawn(ignore(name, signal(kind)?));
    }
    let shutdown = drain(tasks, log.clone())?;
    Ok(Signals { shutdown, hangup })
}

/// Returns a token that is cancelled by the first SIGTERM or SIGINT. A later SIGINT ends the
/// process at once: messages in flight are redelivered, and open requests get no answer.
pub fn shutdown(tasks: &TaskTracker) -> anyhow::Result<CancellationToken> {
    drain(tasks, Log::default())
}

/// Makes SIGHUP start the drain, as SIGTERM does. For a process that belongs to a terminal, SIGHUP
/// means that the terminal was closed.
pub fn drain_at_hangup(tasks: &TaskTracker, signals: Signals) -> CancellationToken {
    let Signals {
        shutdown,
        mut hangup,
    } = signals;
    let token = shutdown.clone();
    tasks.spawn(async move {
        if hangup.recv().await.is_some() {
            shutdown.cancel();
        }
    });
    token
}

fn drain(tasks: &TaskTracker, log: Log) -> anyhow::Result<CancellationToken> {
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
        tracing::warn!("stopped at once by SIGINT, during the drain");
        log.flush();
        std::process::exit(exit::STOPPED.code().into());
    });
    Ok(token)
}

/// Logs each SIGTERM during a drain as ignored.
async fn disregard(terminate: &mut Signal) {
    while terminate.recv().await.is_some() {
        tracing::info!("already draining: SIGTERM is ignored, Ctrl-C (SIGINT) stops at once");
    }
    std::future::pending().await
}

/// Logs each signal of a kind that is always ignored.
async fn ignore(name: &'static str, mut signal: Signal) {
    while signal.recv().await.is_some() {
        tracing::info!("{name} is ignored; SIGHUP reloads, SIGTERM drains");
    }
}
