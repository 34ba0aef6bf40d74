//! Our own accept loop: every connection bounded in number, time and size, and drained in order.
//!
//! `axum::serve` builds its server without a timer, so that hyper's time-out for the head does
//! nothing (axum 0.8, tokio-rs/axum#2741), and it has no limit on connections.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::receive::Peer;
use crate::write_deadline::WriteDeadline;
use crate::{Ingest, Limits, router};

/// How long to wait after accepting failed (out of file descriptors, say) before trying again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often it is told at most that accepting fails: whoever can open connections could fill the
/// log otherwise.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What to listen on.
pub struct Listener {
    /// The bound socket.
    pub tcp: TcpListener,
    /// TLS, for every listener that is not on loopback or behind a declared proxy.
    pub tls: Option<TlsAcceptor>,
}

/// How long the two parts of an end may take.
#[derive(Debug, Clone, Copy)]
pub struct Leaving {
    /// Readiness is red and requests are still taken, so that a balancer turns away before a
    /// connection is refused. Nothing, where there is no balancer.
    pub lead: Duration,
    /// Nothing more is taken; open requests get their true answer. What is left then is cut.
    pub grace: Duration,
}

/// Serves until `shutdown`, then leaves: readiness turns red at once, and after the lead the
/// listener and idle connections are closed and open requests are waited for.
pub async fn serve(
    listener: Listener,
    ingest: Arc<Ingest>,
    shutdown: CancellationToken,
    leaving: Leaving,
) {
    let connections = TaskTracker::new();
    let (drain, cut) = (CancellationToken::new(), CancellationToken::new());
    let long_enough = async {
        shutdown.cancelled().await;
        ingest.turn_away();
        if !leaving.lead.is_zero() {
            tokio::time::sleep(leaving.lead).await;
        }
    };
    tokio::select! {
        // Between two connections: none is dropped that was accepted.
        () = accept(&listener, &ingest, &connections, &drain, &cut) => {}
        () = long_enough => {}
    }
    ingest.begin_drain();
    drop(listener);
    drain.cancel();
    connections.close();
    let waited = tokio::time::timeout(leaving.grace, connections.wait()).await;
    if waited.is_err() {
        tracing::warn!(
            open = connections.len(),
            "connections are cut at the end of the grace"
        );
        cut.cancel();
        connections.wait().await;
    }
    ingest.finish().await;
}

/// Takes connections until it is dropped.
async fn accept(
    listener: &Listener,
    ingest: &Arc<Ingest>,
    connections: &TaskTracker,
    drain: &CancellationToken,
    cut: &CancellationToken,
) {
    let limits = &ingest.limits;
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let addresses = Arc::new(Addresses::default());
    let app = router(Arc::clone(ingest));
    let mut tell_from = Instant::now();
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await;
        let (stream, peer) = match listener.tcp.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if Instant::now() >= tell_from {
                    tracing::warn!(error = %error, "a connection could not be accepted");
                    tell_from = Instant::now() + TELL_EVERY;
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(seat) = addresses.enter(peer.ip(), limits.connections_per_address_max) else {
            tracing::info!(peer = %peer.ip(), "too many connections from {}", peer.ip());
            continue;
        };
        let connection = Connection {
            app: app.clone(),
            peer,
            limits: limits.clone(),
            drain: drain.clone(),
            cut: cut.clone(),
        };
        let tls = listener.tls.clone();
        connections.spawn(async move {
            connection.begin(stream, tls).await;
            drop((slot, seat));
        });
    }
}

/// One connection over any stream, as [`serve`] treats it, until it ends: for whoever has no
/// socket.
pub async fn serve_stream(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    ingest: &Arc<Ingest>,
) {
    let connection = Connection {
        app: router(Arc::clone(ingest)),
        peer,
        limits: ingest.limits.clone(),
        drain: CancellationToken::new(),
        cut: CancellationToken::new(),
    };
    connection.serve(stream).await;
}

struct Connection {
    app: Router,
    peer: SocketAddr,
    limits: Limits,
    drain: CancellationToken,
    cut: CancellationToken,
}

impl Connection {
    async fn begin(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Answers are one small write each: waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let stream = WriteDeadline::new(stream, self.limits.write_deadline);
        match tls {
            None => self.serve(stream).await,
            Some(tls) => {
                let handshake = tokio::time::timeout(self.limits.tls_deadline, tls.accept(stream));
                match handshake.await {
                    Ok(Ok(stream)) => self.serve(stream).await,
                    Ok(Err(error)) => {
                        tracing::debug!(peer = %self.peer.ip(), error = %error, "no TLS");
                    }
                    Err(_elapsed) => {
                        tracing::debug!(peer = %self.peer.ip(), "the TLS handshake took too long");
                    }
                }
            }
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self {
            app,
            peer,
            limits,
            drain,
            cut,
        } = self;
        let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            app.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_deadline)
            .max_headers(limits.headers_max)
            .max_buf_size(limits.head_bytes_max)
            .keep_alive(true)
            .half_close(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut draining = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %peer.ip(), error = %error, "a connection ended");
                    }
                    return;
                }
                () = drain.cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = cut.cancelled() => return,
            }
        }
    }
}

/// How many connections each address has.
#[derive(Default)]
struct Addresses {
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place; given back when dropped.
struct Seat {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    fn enter(self: &Arc<Self>, address: IpAddr, max: usize) -> Option<Seat> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Seat {
            addresses: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self
            .addresses
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
